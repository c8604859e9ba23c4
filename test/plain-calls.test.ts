/** What callers are told of compression and of deadlines, and of health and reflection that are asked in no proper way. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Served, serve } from './hostile/served.ts';

const SUM = '/lab.v1.Lab/Sum';
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

test('an answer says that nothing compressed is taken, and is not compressed', async () => {
  const said = await call(SUM, framed(NOTE), { 'grpc-encoding': 'identity', 'grpc-accept-encoding': 'gzip' });
  assert.equal(said['grpc-status'], '0');
  assert.equal(said['grpc-accept-encoding'], 'identity');
  assert.equal(said['grpc-encoding'], 'identity');
});

test('a call that says that it is compressed is refused, with what is taken instead', async () => {
  const begun = served.lab.records.length;
  for (const encoding of ['gzip', 'deflate', 'identity, gzip', '']) {
    for (const path of [SUM, '/lab.v1.Lab/Collect', '/grpc.health.v1.Health/Check']) {
      const said = await call(path, framed(gzipSync(NOTE), 1), { 'grpc-encoding': encoding });
      assert.equal(said['grpc-status'], '12', `${path} ${encoding}`);
      assert.equal(said['grpc-accept-encoding'], 'identity');
    }
  }
  assert.equal(served.lab.records.length, begun, 'no call began');
});

test('a message that is compressed although its call is not is refused', async () => {
  for (const more of [{}, { 'grpc-encoding': 'identity' }]) {
    assert.equal((await call(SUM, framed(NOTE, 1), more))['grpc-status'], '12');
    assert.equal((await call('/lab.v1.Lab/Collect', framed(NOTE, 1), more))['grpc-status'], '12');
  }
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
