/** What a worker asks for and nobody has answered yet: the runtime holds it, so there is an end to it. */

import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame } from '../../src/frames.ts';
import { FRAME_LIMIT, type Json, type Operation } from '../../src/worker/protocol.ts';
import { type Call, Worker } from '../../src/worker/worker.ts';

const MIB = 1024 * 1024;

/** A worker that is this test, with one call whose operations are performed by `perform`. */
async function calling(perform: (operation: Operation) => Promise<Json>) {
  let killed = false;
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => void done() });
  const kill = (): void => {
    killed = true;
  };
  const worker = new Worker({ socket, kill, processorTime: () => 0 }, 60_000);
  const say = (message: unknown): void => void socket.push(encodeFrame(message, FRAME_LIMIT));
  const loaded = worker.load({ code: '', methods: [], metered: false });
  say({ kind: 'ready' });
  await loaded;
  const call = { message: {}, perform, signal: new AbortController().signal } as unknown as Call;
  worker.run(1, call).catch(() => {});
  const send = (operation: number, bytes: number): void =>
    say({ kind: 'send', call: 1, operation, message: 'x'.repeat(bytes) });
  return { send, worker, killed: () => killed };
}

test('a worker that sends more than anybody takes is ended', async () => {
  const { send, worker, killed } = await calling(() => new Promise(() => {}));
  for (let operation = 0; operation < 40; operation++) send(operation, MIB);
  assert.match(await worker.ended, /unanswered/);
  assert.equal(killed(), true);
});

test('one that is answered may go on for as long as it likes', async () => {
  const { send, worker, killed } = await calling(async () => null);
  for (let operation = 0; operation < 40; operation++) {
    send(operation, MIB);
    await sleep(1);
  }
  assert.equal(killed(), false);
  worker.end('the test is over');
});
