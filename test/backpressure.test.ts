/** Streams over a real connection: what a caller does not read, nobody makes; what is long passes in little memory. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Served, serve } from './hostile/served.ts';
import type { Weakness } from './hostile/weakened.ts';
import { count } from './support/long.ts';

/** How fast this machine is decides nothing here: a call and its stream may last as long as they need. */
const UNHURRIED: Weakness = { constants: { 'LIMITS.call': 3_600_000, 'LIMITS.stream': 3_600_000 } };
const MIB = 1024 * 1024;
/** What the runtime's process may grow by while a stream of any length passes, or waits. */
const BOUND = 128 * MIB;
/** A response that could not be held within that bound, and the part of it that is not measured. */
const WHOLE = count(512, 1024) * MIB;
const WARM = 128 * MIB;
const CHUNK = 256 * 1024;
/** Streams of messages of this size that nobody reads, and how many of them each may hold, with copies and what is not yet collected. */
const STREAMS = 8;
const LARGE = 3 * MIB;
const MAX_HELD_BYTES = 10;

let served: Served;
let session: ClientHttp2Session;
before(async () => {
  const handlers = {
    Watch: `const [count, size = ${CHUNK}] = request.key.split(' ').map(Number);
      const load = btoa('x'.repeat(size));
      for (let left = count; left > 0; left--) yield { load };`,
    Collect: 'let count = 0; for await (const { load } of request) count += load.length; return { count }',
  };
  served = await serve(handlers, UNHURRIED);
  session = connect(`https://127.0.0.1:${served.port}`, { rejectUnauthorized: false });
  await once(session, 'connect');
});
after(() => {
  session.destroy();
  served.close();
});

function call(method: string): ReturnType<ClientHttp2Session['request']> {
  const headers = { 'content-type': 'application/grpc', te: 'trailers' };
  return session.request({ ':method': 'POST', ':path': `/lab.v1.Lab/${method}`, ...headers });
}

/** One gRPC frame of a Note with `key` (field 1) or `load` (field 4). */
function note(field: 1 | 4, value: Buffer): Buffer {
  const length: number[] = [];
  for (let left = value.length; ; left >>>= 7) {
    length.push(left > 0x7f ? (left & 0x7f) | 0x80 : left);
    if (left <= 0x7f) break;
  }
  const message = Buffer.concat([Buffer.from([(field << 3) | 2, ...length]), value]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

test(`a response of ${WHOLE / MIB} MiB passes in constant memory`, async () => {
  const stream = call('Watch');
  stream.end(note(1, Buffer.from(String(WHOLE / CHUNK))));
  // What a process needs to pass messages of this size at all shows in the first part.
  let [received, before, peak] = [0, 0, 0];
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    received += chunk.length;
    if (received < WARM) before = Math.max(before, process.memoryUsage.rss());
    else peak = Math.max(peak, process.memoryUsage.rss());
  }
  assert.ok(received > WHOLE, `${received} bytes`);
  assert.ok(peak - before < BOUND, `grew by ${(peak - before) / MIB} MiB`);
});

test('a caller that does not read holds the handler up', async () => {
  const stream = call('Watch');
  stream.end(note(1, Buffer.from('100000')));
  await once(stream, 'response');
  const before = process.memoryUsage.rss();
  await sleep(3000);
  assert.ok(process.memoryUsage.rss() - before < BOUND);
  stream.close();
});

test('of a stream of large messages that nobody reads, hardly more than one is held', async () => {
  const open = async (): Promise<ReturnType<typeof call>> => {
    const stream = call('Watch').end(note(1, Buffer.from(`100000 ${LARGE}`)));
    await once(stream, 'response');
    return stream;
  };
  // What a process needs to make messages of this size at all shows with the first.
  const streams = [await open()];
  await sleep(3000);
  const before = process.memoryUsage.rss();
  for (let left = STREAMS; left > 0; left--) streams.push(await open());
  await sleep(10_000);
  const held = (process.memoryUsage.rss() - before) / LARGE / STREAMS;
  for (const stream of streams) stream.close();
  console.log(`streams: of ${STREAMS} that nobody reads, ${held.toFixed(1)} messages each are held`);
  assert.ok(held < MAX_HELD_BYTES);
});

test('a caller that writes faster than the handler reads is held up', async () => {
  const stream = call('Collect');
  const frame = note(4, Buffer.alloc(CHUNK, 1));
  const before = process.memoryUsage.rss();
  let peak = 0;
  for (let left = 512; left > 0; left--) {
    if (!stream.write(frame)) await once(stream, 'drain');
    peak = Math.max(peak, process.memoryUsage.rss());
  }
  stream.end();
  const [trailers] = await Promise.all([once(stream, 'trailers'), stream.resume()]);
  assert.equal(trailers[0]['grpc-status'], '0');
  assert.ok(peak - before < BOUND, `grew by ${(peak - before) / MIB} MiB`);
});
