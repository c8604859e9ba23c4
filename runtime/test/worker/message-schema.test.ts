/** What a worker says, against the memory and the stack of the runtime that reads it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handlerValue } from '../../src/message/handler-value.ts';
import { type Json, parseWorkerText, type WorkerText } from '../../src/worker/json-text.ts';
import { parseFromWorker } from '../../src/worker/message-schema.ts';

/** What the taker of a handler's answer makes of a text. */
const taken = (response: string): Json => {
  const said = parseFromWorker(`{"kind":"done","call":1}\t${response}`);
  assert.ok(said.kind === 'done');
  return parseWorkerText(said.json);
};

test('a message of more things than the runtime has room for is none', () => {
  const keys = Array.from({ length: 600_000 }, (_, key) => `"${key}":0`);
  for (const response of [`[${Array(600_000).fill('{}')}]`, `[${Array(600_000).fill('[]')}]`, `{${keys}}`])
    assert.throws(() => taken(response), /more than 100000 parts/);
});

test('a message that goes deeper than a stack is none', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  assert.throws(() => taken(nested(100_000)), /deeper than 256/);
  assert.throws(() => parseFromWorker(release(nested(100_000))), /deeper than 256/);
  assert.doesNotThrow(() => taken(nested(200)));
});

test('text and numbers are not counted, however they look', () => {
  const text = '[{:\\"}]'.repeat(200_000);
  const said = taken(JSON.stringify({ text, numbers: Array(600_000).fill(1) }));
  assert.deepEqual((said as { text: string }).text, text);
});

test('a text that never ends, and escapes of escapes, are weighed as what they are', () => {
  assert.throws(() => taken('"'), SyntaxError);
  const said = taken(JSON.stringify({ '\\"[[': ['\\\\', `${'['.repeat(300)}"`] }));
  assert.deepEqual(said, { '\\"[[': ['\\\\', `${'['.repeat(300)}"`] });
  assert.throws(() => taken(`"\\\\",${'['.repeat(300)}`), /deeper than 256/);
});

const CARRYING = [
  '{"kind":"done","call":1}',
  '{"kind":"put","call":1,"operation":1,"collection":"c","key":"k"}',
  '{"kind":"send","call":1,"operation":1}',
  '{"kind":"egress","call":1,"operation":1,"to":"t","method":"m"}',
  '{"kind":"log","call":1,"operation":1,"event":"e"}',
];

test('a value stands behind the members of a message, and nowhere else', () => {
  for (const said of CARRYING) {
    assert.throws(() => parseFromWorker(said), said);
    assert.throws(() => parseFromWorker(said.replace('}', ',"json":"1"}')));
    assert.throws(() => parseFromWorker(`${said.replace('}', ',"json":"1"}')}\t2`));
    assert.throws(() => parseFromWorker(`${said.replace('}', ',"label":[]}')}\t2`));
    const { json } = parseFromWorker(`${said}\t2`) as { json: string };
    assert.equal(json, '2');
  }
  for (const said of ['{"kind":"ready"}', '{"kind":"failed","call":1}', '{"kind":"next","call":1,"operation":1}']) {
    assert.doesNotThrow(() => parseFromWorker(said));
    assert.throws(() => parseFromWorker(`${said}\t2`), said);
  }
});

test('nothing in a value gets among the members of its message, and what is no JSON is refused as it is taken', () => {
  const members = { kind: 'done', call: 1 };
  for (const text of ['', '1}', '1,"call":2', '1\t{"call":2}', '1 2', '{"a":1', "{'a':1}", '\t', 'undefined', 'NaN']) {
    const { json, ...said } = parseFromWorker(`{"kind":"done","call":1}\t${text}`) as { json: WorkerText };
    assert.deepEqual([said, json], [members, text]);
    assert.throws(() => parseWorkerText(json), SyntaxError, text);
    assert.throws(() => handlerValue(json), { code: 'worker' });
  }
});

test('the short way to the usual message is no other way', () => {
  for (const call of ['01', '-1', '1.5', '"1"', '9007199254740993', ''])
    assert.throws(() => parseFromWorker(`{"kind":"done","call":${call}}\t1`), call);
  for (const call of [0, 7, 999_999_999_999_999, Number.MAX_SAFE_INTEGER])
    for (const members of [
      `{"kind":"done","call":${call}}`,
      `{"call":${call},"kind":"done"}`,
      `{ "kind":"done","call":${call}}`,
    ])
      assert.deepEqual(parseFromWorker(`${members}\t1`), { kind: 'done', call, json: '1' });
});

test('of a name that stands twice the last counts, and `__proto__` is a name', () => {
  assert.deepEqual(taken('{"a":1,"a":2}'), { a: 2 });
  assert.deepEqual(Object.getOwnPropertyNames(taken('{"__proto__":{"a":1}}')), ['__proto__']);
  assert.throws(() => parseFromWorker('{"kind":"failed","call":1,"__proto__":{}}'));
  assert.equal(taken('"\\ud800"'), '\ud800');
  assert.equal(taken('null'), null);
});

const members = (count: number, value: string): string =>
  Array.from({ length: count }, (_, at) => `"${at.toString(36)}":${value}`).join();
const release = (keys: string): string => `{"kind":"release","call":1,"operation":1,"rule":"r","keys":${keys}}`;

test('keys of a release are few, short, and text', () => {
  assert.doesNotThrow(() => parseFromWorker(release(`{${members(64, `"${'v'.repeat(512)}"`)}}`)));
  const long = 'v'.repeat(513);
  for (const keys of [
    `{${members(65, '"v"')}}`,
    `{"a":"${long}"}`,
    `{"${long}":"a"}`,
    '{"a":1}',
    '["a"]',
    '"a"',
    'null',
  ])
    assert.throws(() => parseFromWorker(release(keys)));
});

test('what is no message is refused as fast as it is read, however much of it there is', () => {
  const zeros = `${'0,'.repeat(4_000_000)}0`;
  for (const text of [
    release(`{${members(90_000, '0')}}`),
    `{"kind":"pong","ping":0,${members(90_000, '0')}}`,
    `{"kind":"used","total":1,"heap":1,"collected":false,"calls":[${zeros}]}`,
    `{"kind":"used","total":1,"heap":1,"collected":false,"calls":[${Array(30_000).fill('[0]')}]}`,
    `[${zeros}]`,
    `"${'x'.repeat(8_000_000)}"`,
    'null',
  ]) {
    const from = process.threadCpuUsage();
    let error: unknown;
    try {
      parseFromWorker(text);
    } catch (thrown) {
      error = thrown;
    }
    const { user, system } = process.threadCpuUsage(from);
    const took = (user + system) / 1000;
    assert.ok(error instanceof Error && error.message.length < 1000, text.slice(0, 80));
    assert.ok(took < 700, `${took} ms for ${text.slice(0, 80)}`); // of the processor: some tens
  }
});
