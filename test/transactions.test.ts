/** A call changes all that it has asked for, in every collection, with its record; or it changes no value. */

import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import type { Policy } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../runtime/src/errors.ts';
import { CallContext } from '../runtime/src/flow/call-flow.ts';
import { ZERO_HASH } from '../runtime/src/log/record-log.ts';
import type { Collection } from '../runtime/src/storage/collection.ts';
import type { JsonText } from '../runtime/src/worker/json-text.ts';
import { eventually, HANGS_MS } from './support/eventually.ts';
import { type Lab, labPolicy, openLab } from './support/lab.ts';

/** What `Sum` and `Tell` do besides, by the key of their request. */
const ACTS = `
  if (key === 'both') { await ctx.store.open.put('k', 1); await ctx.store.open.put('l', 1); }
  if (key === 'throw') { await ctx.store.open.put('k', 1); throw 1; }
  if (key === 'status') { await ctx.store.open.put('k', 1); throw new StatusError('NOT_FOUND'); }
  if (key === 'wait') { await ctx.store.open.put('k', 1); await new Promise(() => {}); }
  if (key === 'count') {
    const found = await ctx.store.open.read('n');
    await ctx.store.open.put(ctx.requestId, 1);
    await ctx.store.open.put('n', (found?.value ?? 0) + 1, { ifVersion: found === null ? null : found.version });
  }
  if (key === 'own') {
    await ctx.store.open.put('b', 1); await ctx.store.open.put('c', 1); await ctx.store.open.delete('a');
    const { value, version } = await ctx.store.open.read('b');
    await ctx.store.open.put('b', 2, { ifVersion: version });
    const page = await ctx.store.open.list({ after: 'a', limit: 1 });
    return { words: [String(value), String(await ctx.store.open.get('b')), String(await ctx.store.open.get('a')), ...page] };
  }
  if (key === 'undefined') await ctx.store.open.put('k', 1, { ifVersion: undefined });
  if (key === 'limit') await ctx.store.open.list({ limit: 0 });
  if (key.startsWith('page')) {
    const [, prefix, after, limit] = key.split(':');
    return { words: await ctx.store.open.list({ prefix, after, ...(limit && { limit: Number(limit) }) }) };
  }
  if (key === 'list') return { words: await ctx.store.open.list() };
  for (const each of key.split(' ')) if (each.startsWith('=')) await ctx.store.open.put(each.slice(1), 1);
  return {}`;

function open(more: Partial<Parameters<typeof openLab>[0]> = {}): Promise<Lab> {
  return openLab({ handlers: { Sum: `const { key = '' } = request; ${ACTS}` }, ...more });
}

/** The names that are in `open`. */
async function names(lab: Lab): Promise<readonly string[]> {
  const { messages } = await lab.call('Sum', { key: 'list' });
  return (messages[0] as { words?: string[] }).words ?? [];
}

describe('a call that does not end well changes nothing', () => {
  for (const [key, status] of [
    ['throw', 13],
    ['status', 5],
  ] as const)
    test(`that of ${key}`, async () => {
      const lab = await open();
      assert.equal((await lab.call('Sum', { key })).status, status);
      assert.deepEqual(await names(lab), []);
      lab.close();
    });

  test('one whose caller leaves', async () => {
    const lab = await open();
    const left = new AbortController();
    const perform = mock.method(CallContext.prototype, 'perform');
    const call = lab.call('Sum', { key: 'wait' }, AbortSignal.any([left.signal, AbortSignal.timeout(HANGS_MS)]));
    await eventually('it has stored something', () => perform.mock.callCount() > 0);
    perform.mock.restore();
    left.abort();
    await call;
    assert.deepEqual(await names(lab), []);
    lab.close();
  });

  test('one whose record the log does not take', async () => {
    let full = true;
    const log = {
      pending: undefined,
      place: () => {
        if (full) throw new RefusalError('log', 'the log is full');
        return { index: 0, hash: ZERO_HASH, durable: Promise.resolve() };
      },
    };
    const lab = await open({ log });
    assert.equal((await lab.call('Sum', { key: 'both' })).status, 14);
    full = false;
    assert.deepEqual(await names(lab), []);
    assert.equal((await lab.call('Sum', { key: 'both' })).status, 0);
    assert.deepEqual(await names(lab), ['k', 'l']);
    lab.close();
  });
});

test('of calls that change one record at the same time one ends well, and the others change nothing', async () => {
  const lab = await open();
  const ended = await Promise.all(Array.from({ length: 8 }, () => lab.call('Sum', { key: 'count' })));
  const well = ended.filter(({ status }) => status === 0).length;
  assert.ok(ended.every(({ status, message }) => status === 0 || (status === 10 && message.includes('open'))));
  assert.equal((await names(lab)).length, 1 + well);
  assert.equal(lab.records.filter(({ reason }) => reason === 'conflict').length, 8 - well);
  lab.close();
});

test('a call sees what it has changed, and pages of names in the order of code units', async () => {
  const lab = await open();
  await lab.call('Sum', { key: '=a =ab =\uffff =\u{1f600} =b' });
  const page = async (key: string): Promise<unknown> =>
    ((await lab.call('Sum', { key: `page:${key}` })).messages[0] as { words?: string[] }).words ?? [];
  assert.deepEqual(await names(lab), ['a', 'ab', 'b', '\u{1f600}', '\uffff']);
  assert.deepEqual(await page('a::'), ['a', 'ab']);
  assert.deepEqual(await page('a:a:'), ['ab']);
  assert.deepEqual(await page('::2'), ['a', 'ab']);
  assert.deepEqual(await page(':ab:2'), ['b', '\u{1f600}']);
  assert.deepEqual(await page('c:a:2'), []);
  assert.deepEqual(await page('a:b:'), []);
  const { messages } = await lab.call('Sum', { key: 'own' });
  assert.deepEqual(messages, [{ words: ['1', '2', 'null', 'ab'] }]);
  assert.deepEqual(await names(lab), ['ab', 'b', 'c', '\u{1f600}', '\uffff']);
  for (const key of ['undefined', 'limit']) assert.equal((await lab.call('Sum', { key })).status, 13);
  assert.deepEqual(lab.lost, []);
  lab.close();
});

describe('a value that comes from a disk', () => {
  const asked = { call: 0, operation: 0, collection: 'cases', key: 'k' };
  /** A call that reads it, and what the disk says. */
  function reading() {
    const disk = Promise.withResolvers<JsonText>();
    const place = { value: disk.promise, label: ['personal'], since: 0, version: '1'.repeat(16) };
    const cases: Collection = {
      get: () => place,
      list: () => ({ keys: [], label: [] }),
      check: () => {},
      letGo: () => {},
      apply: () => assert.fail('changed'),
    };
    const policy: Policy = labPolicy({ governance: { leaks: { detectors: ['exact-match'], on: ['response'] } } });
    const rule = policy.services['lab.v1.Lab']?.Sum;
    const context = new CallContext(policy, { id: 'lab.v1.Lab/Sum', rule } as never, new Map([['cases', cases]]));
    return { context, disk, answer: context.perform({ ...asked, kind: 'read' }) };
  }

  test('labels the call before it is there, holds other operations back, and is seen by detectors', async () => {
    const { context, disk, answer } = reading();
    assert.deepEqual(context.label, ['personal']);
    assert.ok(context.silence);
    const { reading: under } = context;
    assert.ok(under);
    let over = false;
    void under.then(() => {
      over = true;
    });
    disk.resolve('{"name":"Jane Doe"}' as JsonText);
    assert.equal(over, false);
    assert.equal(await answer, `{"value":{"name":"Jane Doe"},"version":"${'1'.repeat(16)}"}`);
    await eventually('the next operation may start', () => over);
    assert.equal(context.reading, undefined);
  });

  test('that cannot be read ends the call', async () => {
    const { context, disk, answer } = reading();
    disk.reject(new Error('EIO'));
    await assert.rejects(
      async () => await answer,
      (error) => error instanceof RefusalError && error.code === 'state' && error.final,
    );
    assert.equal(context.reading, undefined);
  });
});
