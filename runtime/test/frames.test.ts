/** Frames on a byte stream: whatever the pieces in which they come, they are the same, and cost no more than they hold. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { encodeFrame, FrameReader } from '../src/frames.ts';

const LIMIT = 1024 * 1024;

/** Bytes in use. */
function held(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test('frames are the same in pieces of any size', () => {
  const messages = ['', 'x'.repeat(5000), { a: [1, 'ö'.repeat(3000)] }, 'y'.repeat(200_000), null];
  const stream = Buffer.concat(messages.map((message) => encodeFrame(message, LIMIT)));
  for (const size of [1, 2, 3, 7, 4095, 4096, 4097, 65_536, stream.length]) {
    const frames = new FrameReader(LIMIT);
    const found: unknown[] = [];
    for (let at = 0; at < stream.length; at += size) {
      for (const text of frames.push(Uint8Array.from(stream.subarray(at, at + size)))) found.push(JSON.parse(text));
    }
    assert.deepEqual(found, messages, `pieces of ${size}`);
  }
});

test('a frame that comes byte by byte, and never to its end, holds little more than its bytes', () => {
  const frames = new FrameReader(LIMIT);
  assert.deepEqual([...frames.push(Uint8Array.of(0, 0x10, 0, 0))], []);
  const before = held();
  for (let sent = 0; sent < LIMIT - 1; sent++) assert.deepEqual([...frames.push(new Uint8Array(1).fill(0x20))], []);
  const grown = held() - before; // as chunks of their own they were 240 times their bytes
  assert.ok(grown < 16 * LIMIT, `${grown} bytes for ${LIMIT - 1}`);
  assert.deepEqual([...frames.push(new Uint8Array(1).fill(0x20))], [' '.repeat(LIMIT)]);
});
