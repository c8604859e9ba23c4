/** What a worker asks for and nobody has answered yet: the runtime holds it, so there is an end to it. */

import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../../test/support/eventually.ts';
import { frameOf, readText, result, type Said } from '../../../test/support/worker-text.ts';
import { FrameReader } from '../../src/frames.ts';
import type { Call } from '../../src/worker/call.ts';
import { MAX_FRAME_BYTES, type Operation } from '../../src/worker/protocol.ts';
import { Worker } from '../../src/worker/worker.ts';

const MIB = 1024 * 1024;

/** A worker that is this test, with one call whose operations are performed by `perform`. `taken` settles as it reads. */
async function calling(
  perform: (operation: Operation) => unknown,
  taken: () => Promise<void> = async () => {},
  awaits: Call['awaits'] = () => undefined,
) {
  let killed = false;
  const socket = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => void taken().then(() => done()) });
  const kill = (): void => {
    killed = true;
  };
  const worker = new Worker({ socket, kill, processorTime: () => 0 }, 60_000);
  const say = (...messages: Said[]): void => void socket.push(Buffer.concat(messages.map(frameOf)));
  const loaded = worker.load({ code: '', methods: [], metered: false });
  say({ kind: 'ready' });
  await loaded;
  const call = {
    message: { grants: { method: 'a.B/C' } },
    perform,
    awaits,
    signal: new AbortController().signal,
  } as unknown as Call;
  const over = worker.run(1, call);
  over.catch(() => {});
  const send = (operation: number, bytes: number): void =>
    say({ kind: 'send', call: 1, operation, json: 'x'.repeat(bytes) });
  return { say, send, over, worker, killed: () => killed };
}

test('a worker that sends more than anybody takes is ended', async () => {
  const { send, worker, killed } = await calling(() => new Promise(() => {}));
  for (let operation = 0; operation < 40; operation++) send(operation, MIB);
  assert.match(await worker.ended, /unanswered/);
  assert.equal(killed(), true);
});

test('a call that asks for more than all have left is ended, and no other', async () => {
  const { say, worker, killed } = await calling(() => new Promise(() => {}));
  const signal = new AbortController().signal;
  const call = {
    message: { grants: { method: 'a.B/C' } },
    perform: () => new Promise(() => {}),
    signal,
  } as unknown as Call;
  const ended: number[] = [];
  for (const id of [2, 3, 4, 5, 6]) worker.run(id, call).catch(({ code }) => code === 'budget' && ended.push(id));
  for (const id of [2, 3, 4, 5, 6])
    for (let operation = 0; operation < 15; operation++)
      if (ended.length === 0) {
        say({ kind: 'send', call: id, operation: id * 100 + operation, json: 'x'.repeat(MIB) });
        await sleep(1);
      }
  await sleep(50);
  assert.deepEqual([ended, killed()], [[6], false]);
  worker.end('the test is over');
});

test('one that is answered may go on for as long as it likes', async () => {
  const { send, worker, killed } = await calling(async () => result(null));
  for (let operation = 0; operation < 40; operation++) {
    send(operation, MIB);
    await sleep(1);
  }
  assert.equal(killed(), false);
  worker.end('the test is over');
});

const get = (operation: number): Said => ({ kind: 'get', call: 1, operation, collection: 'cases', key: 'k' });

test('one that does not take its answers gets no more of them, and all once it does', async () => {
  const reads = Promise.withResolvers<void>();
  let [loaded, performed] = [false, 0];
  const { say, worker, killed } = await calling(
    () => {
      performed++;
      return result('x'.repeat(MIB));
    },
    async () => (loaded ? reads.promise : undefined),
  );
  loaded = true;
  for (let operation = 0; operation < 200; operation++) say(get(operation));
  await eventually('the first eight', () => performed >= 8);
  await sleep(50);
  assert.ok(performed < 20, `${performed} answers of a MiB each for nobody`);
  reads.resolve();
  await eventually('every answer', () => performed === 200);
  assert.deepEqual([performed, killed()], [200, false]);
  worker.end('the test is over');
});

test('operations that wait are begun in order, and before their call is over', async () => {
  const begun: number[] = [];
  const wait = Promise.withResolvers<void>();
  let waits = true;
  const { say, over, worker } = await calling(
    ({ operation }) => begun.push(operation),
    undefined,
    (kind) => (waits && kind === 'get' ? wait.promise : undefined),
  );
  say({ kind: 'list', call: 1, operation: 0, collection: 'cases' });
  for (const operation of [1, 2]) say(get(operation));
  say({ kind: 'list', call: 1, operation: 3, collection: 'cases' });
  say({ kind: 'done', call: 1, json: 'done' });
  const early = await Promise.race([over, sleep(20, 'not over')]);
  assert.deepEqual([early, begun], ['not over', [0]]);
  waits = false;
  wait.resolve();
  assert.deepEqual([await over, begun], ['"done"', [0, 1, 2, 3]]);
  worker.end('the test is over');
});

test('what waits is not begun once its call is given up', async () => {
  let performed = 0;
  const wait = Promise.withResolvers<void>();
  const { say, over, worker } = await calling(
    () => performed++,
    undefined,
    () => wait.promise,
  );
  say(get(0));
  await sleep(5);
  worker.end('the test is over');
  await assert.rejects(over);
  wait.resolve();
  await sleep(5);
  assert.equal(performed, 0);
});

test('between operations that take long the loop turns, and their order is kept', async () => {
  const begun: number[] = [];
  const { say, over, worker } = await calling(({ operation }) => {
    for (const until = performance.now() + 4; performance.now() < until; );
    return begun.push(operation);
  });
  const [turns, counting] = [[] as number[], setInterval(() => turns.push(begun.length), 1)];
  for (let operation = 0; operation < 100; operation++) say(get(operation));
  say({ kind: 'done', call: 1, json: 'done' });
  assert.equal(await over, '"done"');
  clearInterval(counting);
  worker.end('the test is over');
  assert.deepEqual(
    begun,
    Array.from({ length: 100 }, (_, operation) => operation),
  );
  const stretches = turns.map((count, at) => count - (turns[at - 1] ?? 0));
  assert.ok(Math.max(...stretches) <= 14, `${Math.max(...stretches)} operations at a stretch`);
});

test('a call whose operations take long keeps another of its worker no longer than a turn', async () => {
  const begun: number[] = [];
  const { say, worker } = await calling(({ call }) => {
    if (call === 1) for (const until = performance.now() + 10; performance.now() < until; );
    return begun.push(call);
  });
  const call = {
    message: { grants: { method: 'a.B/C' } },
    signal: new AbortController().signal,
    perform: () => begun.push(2),
  } as unknown as Call;
  const other = worker.run(2, call);
  const many = Array.from({ length: 30 }, (_, operation) => get(operation));
  say(...many, { ...get(30), call: 2 }, { kind: 'done', call: 2, json: 'done' });
  assert.equal(await other, '"done"');
  assert.ok(begun.length < 15, `after ${begun.length} operations`);
  worker.end('the test is over');
});

/** A worker whose one call is given up, and that answers pings; `lets` says whether it lets go of the call. */
async function givenUp(lets: boolean): Promise<string> {
  const frames = new FrameReader(MAX_FRAME_BYTES);
  const hear = ({ kind, call, ping }: { kind: string; call: number; ping: number }): void => {
    if (kind === 'cancel' && lets) answer({ kind: 'ended', call });
    if (kind === 'ping') answer({ kind: 'pong', ping });
  };
  const socket: Duplex = new Duplex({
    read: () => {},
    write: (chunk, _encoding, done) => {
      for (const text of frames.push(chunk)) hear(readText(text) as never);
      done();
    },
  });
  const answer = (message: Said): void => void socket.push(frameOf(message));
  const worker = new Worker({ socket, kill: () => {}, processorTime: () => 0 }, 500);
  const loaded = worker.load({ code: '', methods: [], metered: false });
  answer({ kind: 'ready' });
  await loaded;
  const caller = new AbortController();
  const call = {
    message: { grants: { method: 'a.B/C' } },
    perform: () => null,
    signal: caller.signal,
  } as unknown as Call;
  const over = worker.run(1, call);
  setTimeout(() => caller.abort(), 50);
  await assert.rejects(over);
  const reason = await Promise.race([worker.ended, sleep(3000, 'goes on')]);
  worker.end('the test is over');
  return reason;
}

test('a worker that answers pings and does not let go of a call that was given up is ended', async () => {
  assert.match(await givenUp(false), /not in the protocol/);
  assert.equal(await givenUp(true), 'goes on');
});
