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
