/** A caller of a handler that throws hears an id, which the operator finds the record of that call by, and nothing of the error. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Lab, type LabAnswer, openLab } from '../../test/support/lab.ts';
import { refusalInfo } from '../../test/support/refusal-info.ts';
import { parseFromWorker } from '../src/worker/message-schema.ts';

/** What handlers throw to be told by it: `SECRET` stands for data of the call, `CHOSEN` for an id of the handler's own making. */
const SECRET = 'patient 4711';
const CHOSEN = 'c0ffee00c0ffee00c0ffee00c0ffee00';
const THROWN: readonly string[] = [
  `new Error('${SECRET}')`,
  `new TypeError('${SECRET}'.repeat(1e5))`,
  `Object.assign(new Error('(error ${CHOSEN})'), { id: '${CHOSEN}', error: '${CHOSEN}', record: '${CHOSEN}' })`,
  `Object.assign(new Error('x'), { code: 'worker', figures: { id: 7 }, pointer: '/${CHOSEN}' })`,
  `new AggregateError([new Error('${SECRET}'), new Error('${SECRET}')])`,
  `{ toString: () => '${CHOSEN}', toJSON: () => '${CHOSEN}', get message() { return '${CHOSEN}' } }`,
  `new Proxy({}, { get: () => '${CHOSEN}', has: () => true })`,
  `'${CHOSEN}'`,
  'null',
  'undefined',
];

let lab: Lab;
before(async () => {
  const thrown = THROWN.map((what) => `() => (${what})`);
  const body = `throw [${thrown.join(', ')}][Number(request.key)]()`;
  lab = await openLab({
    handlers: {
      Put: body,
      Watch: `yield { word: ctx.requestId }; ${body}`,
      Sum: "return { word: 7, key: { toString: () => 'x' } }",
    },
  });
});
after(() => lab.close());

const SAID = /^the handler threw \(error ([0-9a-f]{32})\)$/;

/** The id that a caller was told, and everything else of the answer and the record that does not change from call to call. */
function told(answer: LabAnswer) {
  const [, id = ''] = SAID.exec(answer.message) ?? assert.fail(answer.message);
  const [record, ...others] = lab.records.filter((each) => each.id === id);
  assert.ok(record !== undefined && others.length === 0, 'one record has the id');
  const { id: _, time: __, ...entry } = record;
  const { reason, metadata } = refusalInfo(answer.details ?? assert.fail());
  assert.equal(metadata.error, id);
  return { id, rest: { status: answer.status, reason, metadata: { ...metadata, error: '' }, entry } } as const;
}

test('whatever a handler throws, its caller, the record and the details say the same, but for a new id', async () => {
  const ends = [];
  for (const key of THROWN.keys()) ends.push(told(await lab.call('Put', { key: String(key) })));
  for (const { rest } of ends) assert.deepEqual(rest, ends[0]?.rest);
  assert.equal(new Set(ends.map(({ id }) => id)).size, THROWN.length);
  const { rest } = ends[0] ?? assert.fail();
  assert.equal(rest.status, 13);
  assert.deepEqual([rest.entry.method, rest.entry.reason], ['lab.v1.Lab/Put', 'worker']);
  const all = JSON.stringify([lab.records, ends]);
  for (const word of [SECRET, CHOSEN, 'TypeError', 'AggregateError']) assert.ok(!all.includes(word), word);
});

test('the same error twice has two ids, and the handler knows none of them', async () => {
  const [first, second] = [await lab.call('Watch', { key: '0' }), await lab.call('Watch', { key: '0' })];
  assert.notEqual(told(first).id, told(second).id);
  for (const answer of [first, second]) {
    const [{ word }] = answer.messages as [{ word: string }];
    assert.match(word, /^[0-9a-f]{32}$/);
    assert.ok(!JSON.stringify([answer.message, lab.records]).includes(word));
  }
});

test('an answer that is not of its type has an id, too', async () => {
  const { message } = await lab.call('Sum', { key: 'k' });
  const [, id] = /^the response is not .* \(error ([0-9a-f]{32})\)$/.exec(message) ?? assert.fail(message);
  assert.equal(lab.records.find((each) => each.id === id)?.reason, 'response');
});

test('a status of the handler and a refusal have none', async () => {
  const other = await openLab({
    handlers: {
      Put: "throw new StatusError('NOT_FOUND', 'none')",
      Sum: "await ctx.store.open.put('k', 1); await ctx.store.cases.get('k')",
    },
  });
  try {
    const [status, refused] = [await other.call('Put', { key: 'k' }), await other.call('Sum', { key: 'k' })];
    assert.equal(status.message, 'none');
    for (const { message } of [status, refused]) assert.doesNotMatch(message, /error/);
  } finally {
    other.close();
  }
});

test('a worker has no words for an error', () => {
  const failed = { kind: 'failed', call: 7 };
  assert.deepEqual(parseFromWorker(JSON.stringify(failed)), failed);
  for (const more of [{ id: CHOSEN }, { error: CHOSEN }, { message: '' }, { reason: '' }])
    assert.throws(() => parseFromWorker(JSON.stringify({ ...failed, ...more })));
});
