/** What a worker says, against the memory and the stack of the runtime that reads it. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFromWorker } from '../../src/worker/message-schema.ts';

const done = (response: string): string => `{"kind":"done","call":1,"response":${response}}`;

test('a message of more things than the runtime has room for is none', () => {
  const keys = Array.from({ length: 600_000 }, (_, key) => `"${key}":0`);
  for (const response of [`[${Array(600_000).fill('{}')}]`, `[${Array(600_000).fill('[]')}]`, `{${keys}}`])
    assert.throws(() => parseFromWorker(done(response)), /more than 500000 parts/);
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
