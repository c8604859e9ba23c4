/** False if this fails: a call through `enclaim proxy` ends as it would directly, and harms no other client's calls. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { type RunningProxy, startProxy } from '@enclaim/client/proxy';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ECHO, type PretendServer, startPretendServer } from './support/pretend-server.ts';

const HEADERS = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };

let server: PretendServer;
let proxy: RunningProxy;
const sessions: ClientHttp2Session[] = [];
before(async () => {
  server = await startPretendServer();
  proxy = await startProxy(server.target, { references: server.references, listen: { host: '127.0.0.1', port: 0 } });
});
afterEach(() => {
  for (const session of sessions.splice(0)) session.destroy();
});
after(async () => {
  await proxy.close();
  server.stop();
});

function frame(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function open(address = proxy.address): ClientHttp2Session {
  const path = address.replace(/^unix:/, '');
  const session = address.startsWith('unix:')
    ? connectHttp2('http://localhost', { createConnection: () => connectTcp(path), maxHeaderListPairs: 4096 })
    : connectHttp2(`http://${address}`, { maxHeaderListPairs: 4096, maxSendHeaderBlockLength: 1 << 20 });
  session.on('error', () => {});
  sessions.push(session);
  return session;
}

interface Ended {
  /** The first block of headers. */
  readonly head: IncomingHttpHeaders;
  /** The block that says how the call ended, and whether it was the only one. */
  readonly last: IncomingHttpHeaders;
  readonly alone: boolean;
  /** Why HTTP/2 ended it. */
  readonly reset: number | undefined;
}

async function ended(stream: ClientHttp2Stream): Promise<Ended> {
  let head: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  stream.on('response', (headers) => {
    head = headers;
  });
  stream.on('trailers', (headers) => {
    trailers = headers;
  });
  stream.on('error', () => {});
  stream.resume();
  await new Promise((resolve) => stream.once('close', resolve));
  return { head, last: trailers ?? head, alone: trailers === undefined, reset: stream.rstCode };
}

function call(session: ClientHttp2Session, method: string, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  return session.request({ ...HEADERS, ':path': `${ECHO}${method}`, ...headers });
}

function ask(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}, method = 'Unary'): Promise<Ended> {
  const stream = call(session, method, headers);
  stream.end(frame(Buffer.from('x')));
  return ended(stream);
}

describe('a call through the proxy', () => {
  test('that ends before it has said anything ends in one block, with its details and its text as gRPC writes it', async () => {
    const { last, alone } = await ask(open(), {}, 'Fail');
    assert.equal(alone, true);
    assert.equal(last['grpc-status'], String(status.FAILED_PRECONDITION));
    assert.equal(last['grpc-message'], 'a/b c: 100%25 gr%C3%BCn');
    assert.deepEqual(Buffer.from(String(last['grpc-status-details-bin']), 'base64'), Buffer.from([8, 9]));
    assert.equal(last['grpc-retry-pushback-ms'], '7');
  });

  test('that has said something ends in trailers', async () => {
    const { last, alone } = await ask(open());
    assert.deepEqual([alone, last['grpc-status']], [false, '0']);
  });

  test('is of this machine: other authorities, and web pages, are refused with a sentence', async () => {
    const session = open();
    for (const authority of ['localhost', 'LOCALHOST:1', '127.0.0.1:50051', '127.9.9.9', '[::1]:7']) {
      assert.equal((await ask(session, { ':authority': authority })).last['grpc-status'], '0', authority);
    }
    for (const headers of [
      { ':authority': 'attacker.example' },
      { ':authority': '127.0.0.1.attacker.example:80' },
      { ':authority': 'localhost.attacker.example' },
      { ':authority': '192.0.2.1' },
      { origin: 'https://attacker.example' },
      { origin: 'null' },
    ]) {
      const { last } = await ask(session, headers);
      assert.equal(last['grpc-status'], String(status.PERMISSION_DENIED), JSON.stringify(headers));
      assert.match(String(last['grpc-message']), /not of this machine|web pages/);
    }
  });

  test('is one of at most as many at once as its server takes, however many its client opens', async () => {
    const session = open();
    await once(session, 'remoteSettings');
    assert.equal(session.remoteSettings.maxConcurrentStreams, 64);
    assert.equal(session.remoteSettings.maxHeaderListSize, 16 * 1024);
  });
});

describe('metadata', () => {
  test('that no connection carries, or too much of it, ends its own call and nothing else', async () => {
    const honest = open();
    const hostile = open();
    // An honest call is under way all the time, over the one connection that both share.
    const upload = call(honest, 'ClientStream');
    const uploaded = ended(upload);
    upload.write(frame(Buffer.alloc(10)));
    const connections = server.connections;
    const many = (count: number, size: number): OutgoingHttpHeaders =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 'v'.repeat(size)]));
    const { OK, RESOURCE_EXHAUSTED } = status;
    const rows: [name: string, headers: OutgoingHttpHeaders, expected: status][] = [
      ['64 entries', many(64, 1), OK],
      ['65 entries', many(65, 1), RESOURCE_EXHAUSTED],
      ['1000 entries', many(1000, 1), RESOURCE_EXHAUSTED],
      ['one of 15 KiB', many(1, 15 * 1024), OK],
      ['one of 16 KiB', many(1, 16 * 1024), RESOURCE_EXHAUSTED],
      ['ten of 6 KiB', many(10, 6 * 1024), RESOURCE_EXHAUSTED],
      ...['expect', 'trailer', 'proxy-authorization', 'accept-encoding', 'grpc-status', 'grpc-message'].map(
        (name): [string, OutgoingHttpHeaders, status] => [name, { [name]: 'x' }, OK],
      ),
      ['names of gRPC that pass', { 'grpc-previous-rpc-attempts': '1', 'grpc-tags-bin': 'AA' }, OK],
      ['two authorizations', { authorization: 'a, b' }, OK],
    ];
    for (const [name, headers, expected] of rows) {
      const { last, reset } = await ask(hostile, headers);
      // Beyond what was announced Node itself ends the one stream, with the code that gRPC reads as exhausted.
      const calm = reset === constants.NGHTTP2_ENHANCE_YOUR_CALM && expected === RESOURCE_EXHAUSTED;
      if (!calm) assert.equal(last['grpc-status'], String(expected), name);
    }
    upload.end(frame(Buffer.alloc(5)));
    assert.equal((await uploaded).last['grpc-status'], '0');
    assert.equal(server.connections, connections, 'the connection behind the proxy is the same');
  });

  test('through a channel: the same, with a sentence for each name of a connection', async () => {
    const client = new Client('localhost', credentials.createInsecure(), { channelOverride: proxy.channel });
    const same = (bytes: Buffer): Buffer => bytes;
    const unary = (metadata: Metadata): Promise<number> =>
      new Promise((resolve) => {
        client.makeUnaryRequest(`${ECHO}Unary`, same, same, Buffer.from('x'), metadata, (error: ServiceError | null) =>
          resolve(error === null ? status.OK : error.code),
        );
      });
    const connections = server.connections;
    const rows: [Record<string, string[]>, status][] = [
      [{ plain: ['a'] }, status.OK],
      [{ authorization: ['a', 'b'], date: ['a', 'b'], 'x-bin': [] }, status.OK],
      ...['http2-settings', 'connection', 'keep-alive', 'proxy-connection', 'upgrade', 'transfer-encoding', 'te'].map(
        (name): [Record<string, string[]>, status] => [{ [name]: ['x'] }, status.INTERNAL],
      ),
      [{ large: ['x'.repeat(80_000)] }, status.RESOURCE_EXHAUSTED],
      [Object.fromEntries(Array.from({ length: 65 }, (_, at) => [`k${at}`, ['v']])), status.RESOURCE_EXHAUSTED],
    ];
    for (const [entries, expected] of rows) {
      const metadata = new Metadata();
      for (const [name, values] of Object.entries(entries)) for (const value of values) metadata.add(name, value);
      assert.equal(await unary(metadata), expected, Object.keys(entries).slice(0, 3).join());
    }
    assert.equal(server.connections, connections);
  });
});

test('silent streams of some clients leave places for others', async () => {
  const hogs = [open(), open()];
  const silent = hogs.flatMap((session) => Array.from({ length: 63 }, () => call(session, 'ClientStream')));
  for (const stream of silent) {
    stream.on('error', () => {});
    stream.write(frame(Buffer.alloc(1)));
  }
  // Their calls have reached the proxy once one that comes after them is refused there.
  for (const session of hogs) await ask(session, { origin: 'x' });
  const honest = open();
  for (let turn = 0; turn < 20; turn++) assert.equal((await ask(honest)).last['grpc-status'], '0');
  assert.ok(silent.every(({ closed }) => !closed));
});

describe('a socket of the file system', () => {
  test('is for its owner alone, and gone afterwards', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'enclaim-socket-'));
    const socket = join(folder, 'grpc');
    try {
      const other = await startProxy(server.target, { references: server.references, listen: { socket } });
      assert.equal(other.address, `unix:${socket}`);
      assert.equal(statSync(socket).mode & 0o777, 0o600);
      assert.equal((await ask(open(other.address))).last['grpc-status'], '0');
      await assert.rejects(startProxy(server.target, { references: server.references, listen: { socket } }), {
        code: 'listen',
      });
      await other.close();
      assert.throws(() => statSync(socket), { code: 'ENOENT' });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the end of a proxy', () => {
  test('lets calls end that do, tells those that do not, and takes no more', async () => {
    const { target, references } = server;
    const ending = await startProxy(target, { references, listen: { host: '127.0.0.1', port: 0 } });
    const session = open(ending.address);
    const goaway = once(session, 'goaway');
    const upload = call(session, 'ClientStream');
    const held = call(session, 'Hold');
    const ends = [ended(upload), ended(held)];
    upload.write(frame(Buffer.alloc(10)));
    held.end(frame(Buffer.from('x')));
    await ask(session); // those before it have begun
    const drained = ending.drain();
    const [code] = await goaway;
    assert.equal(code, 0);
    upload.end(frame(Buffer.alloc(5)));
    const [uploaded, cut] = await Promise.all(ends);
    assert.equal(uploaded?.last['grpc-status'], '0');
    assert.equal(cut?.last['grpc-status'], String(status.UNAVAILABLE));
    assert.match(String(cut?.last['grpc-message']), /the proxy ends/);
    await drained;
    server.release();
  });

  test('comes at once when asked for', async () => {
    const { target, references } = server;
    const ending = await startProxy(target, { references, listen: { host: '127.0.0.1', port: 0 } });
    const held = call(open(ending.address), 'Hold');
    const end = ended(held);
    held.end(frame(Buffer.from('x')));
    void ending.drain();
    await ending.close();
    assert.equal((await end).last['grpc-status'], undefined);
    server.release();
  });
});
