/** Connections of HTTP/2 behind a meter, whose peers leave without a word. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { performServerHandshake, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { MeteredSocket } from '../src/metered-socket.ts';

/** The preface of a client, and its settings. */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** A socket whose peer takes all that is written before the end, and never the end. */
class EndlessSocket extends Duplex {
  constructor() {
    super({ allowHalfOpen: false });
  }

  override _read(): void {}

  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    done();
  }

  override _final(): void {}
}

/** A socket that notes what it is given, and has room for more once it is told so. */
class NotedSocket extends EndlessSocket {
  readonly pieces: string[] = [];
  isFull = false;

  override write(chunk: Buffer): boolean {
    this.pieces.push(chunk.toString());
    return !this.isFull;
  }
}

/** Writes as HTTP/2 does; counts those writes for which there is room. */
function writer(metered: MeteredSocket): { readonly taken: number; write(...pieces: string[]): void } {
  const told = { taken: 0, write };
  function write(...pieces: string[]): void {
    metered.cork();
    for (const piece of pieces) metered.write(Buffer.from(piece), () => told.taken++);
    metered.uncork();
  }
  return told;
}

async function opened(stream: Duplex, socket: Duplex): Promise<ServerHttp2Session> {
  const session = performServerHandshake(stream);
  session.on('error', () => {});
  socket.push(PREFACE);
  await once(session, 'remoteSettings');
  return session;
}

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await setImmediate();
}

test('a peer that sends no more, and takes no end, ends its connection and nothing else', async () => {
  const socket = new EndlessSocket();
  const session = await opened(new MeteredSocket(socket as unknown as Socket), socket);
  socket.push(null);
  await turns();
  assert.equal(session.destroyed, true);
  assert.equal(socket.writableEnded, true, 'what was written before still leaves');
});

test('(control) a stream that tells HTTP/2 of the end lets the next frame end the process', async () => {
  const socket = new EndlessSocket();
  const session = await opened(socket, socket);
  socket.push(null);
  await turns();
  assert.equal(session.destroyed, false);
  const thrown = Promise.withResolvers<NodeJS.ErrnoException>();
  process.setUncaughtExceptionCaptureCallback((error) => thrown.resolve(error as NodeJS.ErrnoException));
  try {
    session.ping(() => {});
    assert.equal((await thrown.promise).code, 'ERR_INTERNAL_ASSERTION');
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
});

test('what is written at once leaves as one piece, and at once', () => {
  const socket = new NotedSocket();
  const written = writer(new MeteredSocket(socket as unknown as Socket));
  written.write('head', 'content');
  written.write('trailers');
  assert.deepEqual(socket.pieces, ['headcontent', 'trailers']);
  assert.equal(written.taken, 3);
});

test('what is held leaves in three turns as one piece, however often it is held', async () => {
  const socket = new NotedSocket();
  const metered = new MeteredSocket(socket as unknown as Socket);
  const written = writer(metered);
  for (let turn = 0; turn < 6; turn++) {
    metered.hold();
    written.write(String(turn));
    assert.equal(written.taken, turn + 1, 'HTTP/2 goes on');
    await setImmediate();
  }
  assert.deepEqual(socket.pieces, ['012', '345']);
});

test('no more than 128 KiB are held', () => {
  const socket = new NotedSocket();
  const metered = new MeteredSocket(socket as unknown as Socket);
  const written = writer(metered);
  metered.hold();
  written.write('a'.repeat(128 * 1024 - 1));
  assert.equal(socket.pieces.length, 0);
  written.write('b');
  assert.equal(socket.pieces.length, 1);
});

test('where the socket is full, HTTP/2 waits until it has room', async () => {
  const socket = new NotedSocket();
  const metered = new MeteredSocket(socket as unknown as Socket);
  const written = writer(metered);
  socket.isFull = true;
  written.write('first');
  await turns();
  assert.equal(written.taken, 0);
  socket.emit('drain');
  assert.equal(written.taken, 1);
});

test('what is held leaves before the end of either side', async () => {
  for (const end of ['ours', 'theirs']) {
    const socket = new NotedSocket();
    const metered = new MeteredSocket(socket as unknown as Socket);
    metered.hold();
    writer(metered).write('last');
    if (end === 'ours') metered.end();
    else {
      metered.resume();
      socket.push(null);
    }
    await turns();
    assert.deepEqual(socket.pieces, ['last'], end);
    assert.equal(socket.writableEnded, true);
  }
});

test('what a read causes leaves in its turn, with what the turn writes', async () => {
  const socket = new NotedSocket();
  const metered = new MeteredSocket(socket as unknown as Socket);
  const written = writer(metered);
  metered.on('data', () => written.write('window'));
  socket.push(PREFACE);
  await turns();
  assert.deepEqual(socket.pieces, ['window']);
  metered.on('data', () => queueMicrotask(() => written.write('answer')));
  socket.push(Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0]));
  await turns();
  assert.deepEqual(socket.pieces, ['window', 'windowanswer']);
});
