/** A watcher is sent at most one checkpoint a tick and never waits for another, and watches are bounded. */

import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';
import type { CallerConnection, GrpcCall } from '../src/channel/grpc-call.ts';
import { LogWatchers, MAX_LOG_WATCHES, MAX_LOG_WATCHES_IN_ALL } from '../src/channel/log-watchers.ts';

/** A call that takes what it is sent when it is told to. */
class Watching {
  readonly connection: CallerConnection;
  readonly sent: number[] = [];
  isEnded = false;
  outlives = false;
  /** Takes the last message. */
  take: () => void = () => {};
  leave: () => void = () => {};

  constructor(connection = {} as CallerConnection) {
    this.connection = connection;
  }

  get call(): GrpcCall {
    return this as unknown as GrpcCall;
  }

  onLeave(left: () => void): void {
    this.leave = left;
  }

  outlive(): void {
    this.outlives = true;
  }

  send(message: Uint8Array): Promise<void> {
    this.sent.push(message[0] ?? 0);
    return new Promise((resolve) => {
      this.take = resolve;
    });
  }
}

let size = 1;
const watchers = (): LogWatchers => {
  mock.timers.enable({ apis: ['setInterval'] });
  size = 1;
  return new LogWatchers(() => ({ size, message: () => Uint8Array.of(size) }));
};
afterEach(() => mock.timers.reset());
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('who takes nothing is sent nothing more, and the others are', async () => {
  const all = watchers();
  const [slow, quick] = [new Watching(), new Watching()];
  for (const { call } of [slow, quick]) all.add(call, 0);
  for (size = 2; size < 10; size++) {
    quick.take();
    await settled();
    mock.timers.tick(1000);
  }
  assert.deepEqual(slow.sent, [1]);
  assert.deepEqual(quick.sent, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  slow.take();
  await settled();
  mock.timers.tick(1000);
  assert.deepEqual(slow.sent, [1, 10], 'the newest alone');
});

test('a watch from a size on is sent what is above it, and the last one again after half a minute', async () => {
  const all = watchers();
  const watching = new Watching();
  all.add(watching.call, 1);
  assert.deepEqual([watching.sent, watching.outlives], [[], true]);
  mock.timers.tick(28_000);
  assert.deepEqual(watching.sent, []);
  mock.timers.tick(1000);
  assert.deepEqual(watching.sent, [1]);
});

test('watches are bounded on a connection and in all; one that ends makes room', () => {
  const all = watchers();
  const busy = (error: Error & { code?: string }): boolean => error.code === 'busy';
  const connection = {} as CallerConnection;
  const own = Array.from({ length: MAX_LOG_WATCHES }, () => new Watching(connection));
  for (const { call } of own) all.add(call, 0);
  assert.throws(() => all.add(new Watching(connection).call, 0), busy);
  own[0]?.leave();
  all.add(new Watching(connection).call, 0);
  for (let i = own.length; i < MAX_LOG_WATCHES_IN_ALL; i++) all.add(new Watching().call, 0);
  assert.throws(() => all.add(new Watching().call, 0), busy);
  let ended = 0;
  all.stop(() => ended++);
  assert.equal(ended, MAX_LOG_WATCHES_IN_ALL);
});
