/** `enclaim proxy`: clients that know nothing of attestation, in another language and below gRPC libraries. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type ClientHttp2Session, connect as connectHttp2, constants } from 'node:http2';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { ChannelError, type CheckedReceipt } from '@enclaim/client';
import { type RunningProxy, startProxy } from '@enclaim/client/proxy';
import { HANGS_MS } from './support/eventually.ts';
import { needs, PYTHON } from './support/machine-needs.ts';
import { ECHO, type PretendServer, startPretendServer } from './support/pretend-server.ts';

let server: PretendServer;
let proxy: RunningProxy;
const receipts: CheckedReceipt[] = [];
before(async () => {
  server = await startPretendServer();
  const { target, references } = server;
  const listen = { host: '127.0.0.1', port: 0 };
  proxy = await startProxy(target, { references, listen, onReceipt: (receipt) => receipts.push(receipt) });
});
after(async () => {
  await proxy.close();
  server.stop();
});

/** Prints one line per finding; each is compared. */
const SCRIPT = `
import sys, threading, grpc
channel = grpc.insecure_channel(sys.argv[1], options=[('grpc.max_receive_message_length', 5 << 20)])
path = '/test.v1.Echo/'
unary = channel.unary_unary(path + 'Unary')
print('unary', unary(b'hello', timeout=250).decode())
response, call = unary.with_call(b'x', timeout=250, metadata=(('echo', 'text'), ('echo-bin', b'\\x00\\xff')))
print('metadata', sorted((k, v) for k, v in call.initial_metadata() if k.startswith('echo')),
      sorted((k, v) for k, v in call.trailing_metadata() if k.startswith('echo')))
print('large', len(unary(bytes(4 << 20), timeout=250)))
print('server stream', len(list(channel.unary_stream(path + 'ServerStream')(b'\\x05ab', timeout=250))))
print('client stream', channel.stream_unary(path + 'ClientStream')((bytes(100) for _ in range(50)), timeout=250).decode())
print('bidi', [m.decode() for m in channel.stream_stream(path + 'Bidi')(iter([b'one', b'two']), timeout=250)])
def code(run):
    try: run(); return 'OK'
    except grpc.RpcError as error: return error.code().name
    except grpc.FutureCancelledError: return 'CANCELLED'
print('deadline', code(lambda: channel.unary_unary(path + 'Hold')(b'x', timeout=0.3)))
held = channel.unary_unary(path + 'Hold').future(b'x', timeout=250)
threading.Timer(0.1, held.cancel).start()
print('cancelled', code(held.result))
print('no receipt', code(lambda: channel.unary_unary(path + 'NoReceipt')(b'x', timeout=250)))
print('unknown', code(lambda: channel.unary_unary('/test.v1.Other/Method')(b'x', timeout=250)))
print('too large', code(lambda: unary(bytes((4 << 20) + 1), timeout=250)))
print('gzip', code(lambda: unary(bytes(1000), timeout=250, compression=grpc.Compression.Gzip)))
`;

test("python's grpcio calls through it as it would call anybody", needs("python's gRPC"), async () => {
  receipts.length = 0;
  const { stdout } = await promisify(execFile)(PYTHON, ['-c', SCRIPT, proxy.address], { timeout: HANGS_MS });
  assert.deepEqual(stdout.trim().split('\n'), [
    'unary hello',
    "metadata [('echo', 'text'), ('echo-bin', b'\\x00\\xff')] [('echo-trailer', 'text')]",
    'large 4194304',
    'server stream 5',
    'client stream 5000',
    "bidi ['one', 'two']",
    'deadline DEADLINE_EXCEEDED',
    'cancelled CANCELLED',
    'no receipt DATA_LOSS',
    'unknown UNIMPLEMENTED',
    'too large RESOURCE_EXHAUSTED',
    'gzip OK',
  ]);
  assert.equal(receipts.length, 7);
});

describe('below a gRPC library', () => {
  const frame = (message: Uint8Array): Buffer => {
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    return Buffer.concat([prefix, message]);
  };

  const flagged = (message: Uint8Array): Buffer => {
    const framed = frame(message);
    framed[0] = 1;
    return framed;
  };

  /** What a request with these bytes ends in. */
  async function raw(
    session: ClientHttp2Session,
    headers: Record<string, string>,
    chunks: Uint8Array[],
  ): Promise<{ http: number; status: string | undefined; body: Buffer }> {
    const stream = session.request({
      ':method': 'POST',
      ':path': `${ECHO}Unary`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    let http = 0;
    let status: string | undefined;
    const body: Buffer[] = [];
    stream.on('response', (received) => {
      http = Number(received[':status']);
      // Where nothing else comes, the status comes with the first block.
      if (received['grpc-status'] !== undefined) status = String(received['grpc-status']);
    });
    stream.on('trailers', (trailers) => {
      status = String(trailers['grpc-status']);
    });
    stream.on('data', (chunk: Buffer) => body.push(chunk));
    stream.on('error', () => {});
    for (const chunk of chunks) {
      stream.write(chunk);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    stream.end();
    await once(stream, 'close');
    return { http, status, body: Buffer.concat(body) };
  }

  test('messages are found however they are cut up, and what is no message is refused', async () => {
    const session = connectHttp2(`http://${proxy.address}`);
    session.on('error', () => {});
    try {
      const message = Buffer.from('in pieces');
      const pieces = [...frame(message)].map((byte) => Uint8Array.of(byte));
      const answered = await raw(session, {}, pieces);
      assert.deepEqual(answered, { http: 200, status: '0', body: frame(message) });
      const odd = await raw(session, { 'a!b': '1', 'x-bin': '?' }, [frame(message)]);
      assert.equal(odd.status, '0', 'headers that are no metadata');
      const refused: [string, Record<string, string>, Uint8Array[], number, string | undefined][] = [
        ['another content type', { 'content-type': 'text/plain' }, [], 415, undefined],
        ['another method', { ':method': 'GET' }, [], 405, undefined],
        ['messages in an encoding that is not known', { 'grpc-encoding': 'none' }, [frame(message)], 200, '12'],
        ['an empty path', { ':path': '/' }, [frame(message)], 200, '12'],
        ['a timeout that is none', { 'grpc-timeout': '1e9S' }, [frame(message)], 200, '13'],
        ['a compressed message', {}, [Buffer.concat([Buffer.from([1]), frame(message).subarray(1)])], 200, '13'],
        ['a flag that is none', {}, [Buffer.concat([Buffer.from([2]), frame(message).subarray(1)])], 200, '13'],
        ['gzip that is none', { 'grpc-encoding': 'gzip' }, [Buffer.from([1, 0, 0, 0, 1, 0])], 200, '3'],
        [
          'gzip of more than a message',
          { 'grpc-encoding': 'gzip' },
          [flagged(gzipSync(Buffer.alloc(5 << 20)))],
          200,
          '8',
        ],
        ['a length of 4 GiB', {}, [Buffer.from([0, 255, 255, 255, 255])], 200, '8'],
        ['a message cut short', {}, [frame(message).subarray(0, 8)], 200, '13'],
      ];
      for (const [name, headers, chunks, http, status] of refused) {
        const { body, ...ended } = await raw(session, headers, chunks);
        assert.deepEqual(ended, { http, status }, name);
        assert.equal(body.length, 0, name);
      }
    } finally {
      session.close();
    }
  });

  test('a client that resets its call cancels it', async () => {
    const session = connectHttp2(`http://${proxy.address}`);
    try {
      const stream = session.request({ ':method': 'POST', ':path': `${ECHO}Hold`, 'content-type': 'application/grpc' });
      stream.on('error', () => {});
      stream.end(frame(Buffer.from('x')));
      await new Promise((resolve) => setTimeout(resolve, 50));
      stream.close(constants.NGHTTP2_CANCEL);
      await once(stream, 'close');
      assert.deepEqual((await raw(session, {}, [frame(Buffer.from('on it goes'))])).status, '0');
    } finally {
      session.close();
    }
  });
});

test('listens on loopback only, and only after the verdict', async () => {
  const { target, references } = server;
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org', '::ffff:192.0.2.1', '']) {
    await assert.rejects(
      startProxy(target, { references, listen: { host, port: 0 } }),
      (error: unknown) => error instanceof ChannelError && error.code === 'listen',
      host,
    );
  }
  await assert.rejects(
    startProxy(target, { references: { ...references, bundles: [] }, listen: { host: '127.0.0.1', port: 0 } }),
    { name: 'VerdictError' },
  );
  for (const host of ['localhost', '::1', '127.0.0.2']) {
    const other = await startProxy(target, { references, listen: { host, port: 0 } });
    await other.close();
  }
});
