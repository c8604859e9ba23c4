/** What callers are told of compression and of deadlines, and of health and reflection that are asked in no proper way. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { after, before, test } from 'node:test';
import { deflateSync, gzipSync } from 'node:zlib';
import { type Served, serve } from './hostile/served.ts';

const SUM = '/lab.v1.Lab/Sum';
const COLLECT = '/lab.v1.Lab/Collect';
const CHECK = '/grpc.health.v1.Health/Check';
const GZIP = { 'grpc-encoding': 'gzip' };
const NOTE = Buffer.from([0x0a, 1, 0x6b]);

let served: Served;
let session: ClientHttp2Session;
before(async () => {
  served = await serve({ Sum: 'return { key: request.key }', Collect: 'for await (const _ of request); return {}' });
  session = connect(`https://127.0.0.1:${served.port}`, { rejectUnauthorized: false });
  await once(session, 'connect');
});
after(() => {
  session.destroy();
  served.close();
});

/** One message in gRPC's frame. */
function framed(message: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.of(flag, 0, 0, 0, 0);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** Headers and trailers of an answer. */
async function call(path: string, body: Buffer, more: Record<string, string> = {}): Promise<IncomingHttpHeaders> {
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers', ':path': path, ...more };
  const stream = session.request(headers);
  const said: IncomingHttpHeaders = {};
  stream.on('response', (each) => Object.assign(said, each));
  stream.on('trailers', (each) => Object.assign(said, each));
  stream.resume().end(body);
  await once(stream, 'close');
  return said;
}

test('two servers in one process do not take what one does for what a caller said', async () => {
  const other = await serve({ Sum: 'return {}' });
  assert.equal((await call(SUM, framed(NOTE)))['grpc-status'], '0');
  other.close();
});

test('an answer says what compressed messages are taken, and is not compressed', async () => {
  const said = await call(SUM, framed(NOTE), { 'grpc-encoding': 'identity', 'grpc-accept-encoding': 'gzip' });
  assert.equal(said['grpc-status'], '0');
  assert.equal(said['grpc-accept-encoding'], 'identity,gzip');
  assert.equal(said['grpc-encoding'], 'identity');
});

test('a call in another encoding is refused, with what is taken instead', async () => {
  const begun = served.lab.records.length;
  for (const encoding of ['deflate', 'identity, gzip', '', 'GZIP']) {
    for (const path of [SUM, COLLECT, CHECK]) {
      const said = await call(path, framed(deflateSync(NOTE), 1), { 'grpc-encoding': encoding });
      assert.equal(said['grpc-status'], '12', `${path} ${encoding}`);
      assert.equal(said['grpc-accept-encoding'], 'identity,gzip');
    }
  }
  assert.equal(served.lab.records.length, begun, 'no call began');
});

test('gzip is taken everywhere, message by message', async () => {
  const folded = framed(gzipSync(NOTE), 1);
  for (const path of [SUM, COLLECT, CHECK]) {
    const body =
      path === COLLECT
        ? Buffer.concat([folded, framed(NOTE), folded])
        : path === SUM
          ? folded
          : framed(gzipSync(Buffer.of()), 1);
    assert.equal((await call(path, body, GZIP))['grpc-status'], '0', path);
  }
});

test('a message that is compressed although its call is not is refused', async () => {
  for (const more of [{}, { 'grpc-encoding': 'identity' }]) {
    for (const path of [SUM, COLLECT, CHECK]) {
      assert.equal((await call(path, framed(NOTE, 1), more))['grpc-status'], '13');
      assert.equal((await call(path, framed(gzipSync(NOTE), 1), more))['grpc-status'], '13');
    }
  }
});

test('what is not gzip, and what unfolds too far, is refused', async () => {
  const half = gzipSync(NOTE).subarray(0, 15);
  const flipped = gzipSync(NOTE).fill(0, 18, 20); // of the checksum
  for (const bytes of [NOTE, half, flipped, Buffer.of()]) {
    assert.equal((await call(SUM, framed(bytes, 1), GZIP))['grpc-status'], '3');
  }
  const note = (size: number): Buffer => {
    const load = Buffer.alloc(size);
    return Buffer.concat([
      Buffer.of(0x22, (size & 127) | 128, ((size >> 7) & 127) | 128, ((size >> 14) & 127) | 128, size >> 21),
      load,
    ]);
  };
  assert.equal(
    (await call(SUM, framed(gzipSync(note(60_000)), 1), GZIP))['grpc-status'],
    '0',
    'small however it shrank',
  );
  assert.equal(
    (await call(SUM, framed(gzipSync(note(3 * 1024 * 1024)), 1), GZIP))['grpc-status'],
    '8',
    'a thousandfold',
  );
  const five = gzipSync(randomBytes(5 * 512 * 1024).toString('hex')); // half of it
  assert.equal((await call(SUM, framed(five, 1), GZIP))['grpc-status'], '8', 'more than a message may have');
});

test('a deadline that no timer can hold is none; one that is over is', async () => {
  for (const timeout of ['597H', '99999999H', '99999999M', '99999999S', '99999999m', '1H'])
    assert.equal((await call(SUM, framed(NOTE), { 'grpc-timeout': timeout }))['grpc-status'], '0', timeout);
  assert.equal((await call(SUM, framed(NOTE), { 'grpc-timeout': '1n' }))['grpc-status'], '4');
});

test('health refuses what is long, and what is no request', async () => {
  for (const method of ['Check', 'Watch']) {
    const path = `/grpc.health.v1.Health/${method}`;
    assert.equal((await call(path, framed(Buffer.alloc(5000, Buffer.of(0x78, 0)))))['grpc-status'], '8');
    assert.equal((await call(path, framed(Buffer.of(0xff))))['grpc-status'], '3');
  }
});
