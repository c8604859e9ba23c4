/** What a connection may do beside its calls, frame by frame and cut anywhere. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameMeter } from '@enclaim/attestation/frame-meter';

const PREFACE = new TextEncoder().encode('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

function frame(type: number, flags: number, stream: number, length: number): Uint8Array {
  const bytes = new Uint8Array(9 + length);
  new DataView(bytes.buffer).setUint32(0, length * 256 + type);
  bytes[4] = flags;
  new DataView(bytes.buffer).setUint32(5, stream);
  return bytes;
}

/** How many such frames are borne, to a limit, while the clock stands. */
function borne(one: Uint8Array, most: number, meter: FrameMeter = new FrameMeter(() => 0)): number {
  meter.received(PREFACE);
  for (let count = 0; count < most; count++) if (!meter.received(one)) return count;
  return most;
}

const PING = frame(6, 0, 0, 8);

/** How many pings more are borne. */
function more(meter: FrameMeter): number {
  let count = 0;
  while (meter.received(PING)) count++;
  return count;
}

test('frames without use are borne a thousand times, resets and farewells two hundred', () => {
  for (const [type, flags, length, expected] of [
    [0, 0, 0, 1000], // data of nothing
    [0, 8, 200, 1000], // padding
    [2, 0, 5, 1000],
    [3, 0, 4, 200],
    [4, 0, 6, 1000],
    [6, 0, 8, 1000],
    [7, 0, 8, 200],
    [8, 0, 4, 1000],
    [9, 0, 0, 1000],
    [0xfa, 0, 100_000, 1000],
  ] as const)
    assert.equal(borne(frame(type, flags, 1, length), 5000), expected, `type ${type}`);
});

test('a message costs nothing, nor does its end', () => {
  assert.equal(borne(frame(0, 0, 1, 5), 50_000), 50_000);
  assert.equal(borne(frame(0, 1, 1, 1), 50_000), 50_000);
  assert.equal(borne(frame(0, 8, 1, 300), 5000), 5000);
  assert.equal(borne(frame(0, 1, 1, 0), 5000), 5000);
});

test('pieces smaller than any message are borne a thousand times; content and time give them back', () => {
  let now = 0;
  const piece = frame(0, 0, 1, 4);
  const meter = new FrameMeter(() => now);
  const more = (): number => {
    let count = 0;
    while (meter.received(piece)) count++;
    meter.received(piece.subarray(9)); // it looks no further than the head of the piece too many
    return count;
  };
  meter.received(PREFACE);
  for (let i = 0; i < 100; i++) meter.received(frame(0, 0, 1, 65_535));
  assert.equal(more(), 1000);
  meter.received(frame(0, 0, 1, 32_768 * 4));
  assert.equal(more(), 3); // the one that was refused is owed
  now += 1000;
  assert.equal(more(), 49);
  for (let i = 0; i < 1000; i++) assert(meter.received(PING), 'events are none of them');
});

test('what was sent and time give back, and no more than there was', () => {
  let now = 0;
  const meter = new FrameMeter(() => now);
  meter.sent(1e9);
  assert.equal(borne(PING, 5000, meter), 1000);
  meter.sent(32 * 10); // the one that was refused is owed
  assert.equal(more(meter), 9);
  now += 1000;
  assert.equal(more(meter), 49);
});

test('a chunk may end anywhere', () => {
  const bytes = Uint8Array.from([...PREFACE, ...frame(1, 4, 7, 30), ...frame(0, 0, 7, 300), ...frame(6, 0, 0, 8)]);
  for (let size = 1; size < 40; size++) {
    const meter = new FrameMeter(() => 0);
    for (let at = 0; at < bytes.length; at += size) assert(meter.received(bytes.subarray(at, at + size)));
    assert.equal(meter.latest, 7);
    assert.equal(more(meter), 998); // headers and a ping are counted
  }
});
