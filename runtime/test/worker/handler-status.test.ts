/** Statuses of handlers: what a realm lets them throw, and what the runtime takes for one. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status as grpc } from '@grpc/grpc-js';
import { readText, written } from '../../../test/support/worker-text.ts';
import { HANDLER_STATUSES } from '../../src/worker/handler-status.ts';
import { parseFromWorker } from '../../src/worker/message-schema.ts';
import { openRealm } from '../../src/worker/process/realm.ts';

const METHOD = 'a.B/C';

/** What a worker says at the end of a call whose handler has this body. */
async function said(body: string, top = ''): Promise<unknown> {
  const realm = openRealm(`${top}\nexports.handlers = { '${METHOD}': async () => { ${body} } };`, [METHOD]);
  const call = { kind: 'call', call: 7, method: METHOD, json: null, streams: {}, reads: [], stores: [] };
  const granted = { sends: {}, releases: [], time: '2026-01-01T00:00:00.000Z', id: 'id', seed: '0'.repeat(64) };
  realm.receive(written({ ...call, ...granted }));
  await new Promise((resolve) => setImmediate(resolve));
  return readText(realm.take());
}

const FAILED = { kind: 'failed', call: 7 };
const NOT_FOUND = { kind: 'status', call: 7, code: 'NOT_FOUND', text: 'no such case' };
/** What the parser makes of one with this text. */
const parsed = (text: string): unknown => parseFromWorker(JSON.stringify({ ...NOT_FOUND, text }));

test('a handler that throws one ends with it', async () => {
  assert.deepEqual(await said("throw new StatusError('NOT_FOUND', 'no such case')"), NOT_FOUND);
  assert.deepEqual(await said("throw new StatusError('NOT_FOUND')"), { ...NOT_FOUND, text: '' });
  assert.deepEqual(parseFromWorker(JSON.stringify(NOT_FOUND)), NOT_FOUND);
});

test('realm and runtime know the same statuses, by the numbers of gRPC', async () => {
  const names = Object.keys(grpc).filter((name) => Number.isNaN(Number(name)));
  assert.equal(names.length, 17);
  const reserved = names.filter((name) => !(name in HANDLER_STATUSES));
  assert.deepEqual(reserved, [
    ...['OK', 'CANCELLED', 'DEADLINE_EXCEEDED', 'UNIMPLEMENTED', 'INTERNAL', 'DATA_LOSS', 'UNAUTHENTICATED'],
  ]);
  for (const [name, number] of Object.entries(HANDLER_STATUSES)) {
    const message = { ...NOT_FOUND, code: name };
    assert.equal(number, grpc[name as keyof typeof grpc]);
    assert.deepEqual(await said(`throw new StatusError('${name}', 'no such case')`), message);
    assert.deepEqual(parseFromWorker(JSON.stringify(message)), message);
  }
  for (const name of [...reserved, 'not_found', '', 'toString', '__proto__']) {
    const threw = `try { new StatusError('${name}', 'x') } catch (error) { return String(error) }`;
    const { json } = (await said(threw)) as { json: string };
    assert.equal(json, `TypeError: no status that a handler may end with: ${name}`);
    assert.throws(() => parseFromWorker(JSON.stringify({ ...NOT_FOUND, code: name })), name);
  }
});

test('what looks like one is none', async () => {
  const own = "class StatusError extends Error { code = 'NOT_FOUND'; text = 'no such case'; status = { code: 5 } }";
  for (const [thrown, top] of [
    ["{ name: 'StatusError', code: 'NOT_FOUND', text: 'no such case', message: 'no such case' }"],
    ["Object.assign(new Error('no such case'), { name: 'StatusError', code: 'NOT_FOUND', status: 5 })"],
    ["Object.assign(Object.create(StatusError.prototype), { code: 'NOT_FOUND', message: 'no such case' })"],
    ["new Proxy(new StatusError('NOT_FOUND', 'no such case'), {})"],
    ["new Proxy({}, { get: () => 'NOT_FOUND', has: () => true, getPrototypeOf: () => StatusError.prototype })"],
    ["new Error('no such case', { cause: new StatusError('NOT_FOUND', 'no such case') })"],
    ["new AggregateError([new StatusError('NOT_FOUND', 'no such case')])"],
    ['StatusError'],
    ["'NOT_FOUND'"],
    ['null'],
    ['undefined'],
    // A bundle that has a class of that name is taken, and has it for itself.
    ["new StatusError('no such case')", own],
  ] as const) {
    assert.deepEqual(await said(`throw ${thrown}`, top), FAILED, thrown);
  }
});

test('a class of the handlers that extends it is one, and says what it was made with', async () => {
  const top = `class NotFound extends StatusError {
    constructor(what) { super('NOT_FOUND', 'no such ' + what); this.name = 'NotFound'; }
  }`;
  assert.deepEqual(await said("throw new NotFound('case')", top), NOT_FOUND);
  const changed = `const error = new StatusError('NOT_FOUND', 'no such case');
    error.code = 'OK'; error.message = 'x'.repeat(1e6); error.toJSON = () => null; throw error`;
  assert.deepEqual(await said(changed), NOT_FOUND);
});

test('its text is well-formed, and at most 256 characters', async () => {
  for (const longest of ['x'.repeat(256), '€'.repeat(256), '𝄞'.repeat(128)]) {
    assert.deepEqual(await said(`throw new StatusError('NOT_FOUND', '${longest}')`), { ...NOT_FOUND, text: longest });
    assert.deepEqual(parsed(longest), { ...NOT_FOUND, text: longest });
  }
  for (const text of ["'x'.repeat(257)", "'\\ud800'", '7', 'null', "{ toString: () => 'x' }", "['x']"]) {
    assert.deepEqual(await said(`throw new StatusError('NOT_FOUND', ${text})`), FAILED, text);
  }
  for (const text of ['x'.repeat(257), '\ud800', 'a\udc00', 7, null, ['x']])
    assert.throws(() => parsed(text as string), String(text));
});

test('a message has a call, a code, a text, and nothing else', () => {
  for (const message of [
    { ...NOT_FOUND, code: 5 },
    { ...NOT_FOUND, code: ['NOT_FOUND'] },
    { ...NOT_FOUND, call: -1 },
    { ...NOT_FOUND, label: [] },
    { ...NOT_FOUND, response: null },
    { kind: 'status', call: 7, code: 'NOT_FOUND' },
    { kind: 'status', call: 7, text: '' },
    { kind: 'failed', call: 7, code: 'NOT_FOUND', text: '' },
  ]) {
    assert.throws(() => parseFromWorker(JSON.stringify(message)), JSON.stringify(message));
  }
});
