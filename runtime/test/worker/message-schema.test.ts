/** What a worker says, against the memory and the stack of the runtime that reads it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFromWorker } from '../../src/worker/message-schema.ts';

const done = (response: string): string => `{"kind":"done","call":1,"response":${response}}`;

test('a message of more things than the runtime has room for is none', () => {
  const keys = Array.from({ length: 600_000 }, (_, key) => `"${key}":0`);
  for (const response of [`[${Array(600_000).fill('{}')}]`, `[${Array(600_000).fill('[]')}]`, `{${keys}}`])
    assert.throws(() => parseFromWorker(done(response)), /more than 100000 parts/);
});

test('a message that goes deeper than a stack is none', () => {
  const nested = (depth: number): string => done('['.repeat(depth) + ']'.repeat(depth));
  assert.throws(() => parseFromWorker(nested(100_000)), /deeper than 256/);
  assert.doesNotThrow(() => parseFromWorker(nested(200)));
});

test('text and numbers are not counted, however they look', () => {
  const text = '[{:\\"}]'.repeat(200_000);
  const said = parseFromWorker(done(JSON.stringify({ text, numbers: Array(600_000).fill(1) })));
  assert.deepEqual(said.kind === 'done' && (said.response as { text: string }).text, text);
});

test('a text that never ends, and escapes of escapes, are weighed as what they are', () => {
  assert.throws(() => parseFromWorker('{"kind":"done","call":1,"response":"'), SyntaxError);
  const said = parseFromWorker(done(JSON.stringify({ '\\"[[': ['\\\\', `${'['.repeat(300)}"`] })));
  assert.deepEqual(said.kind === 'done' && said.response, { '\\"[[': ['\\\\', `${'['.repeat(300)}"`] });
  assert.throws(() => parseFromWorker(done(`"\\\\",${'['.repeat(300)}`)), /deeper than 256/);
});

test('a value that is not there is no value', () => {
  for (const said of [
    '{"kind":"done","call":1}',
    '{"kind":"put","call":1,"operation":1,"collection":"c","key":"k"}',
    '{"kind":"log","call":1,"operation":1,"event":"e"}',
  ])
    assert.throws(() => parseFromWorker(said));
  assert.doesNotThrow(() => parseFromWorker(done('null')));
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
