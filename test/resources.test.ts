/** Budgets from the side of those who keep to them: what is not theirs is not charged to them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame, FrameReader } from '../runtime/src/frames.ts';
import { type FromWorker, MAX_FRAME_BYTES, type ToWorker } from '../runtime/src/worker/protocol.ts';
import { type LabOptions, openLab } from './support/lab.ts';
import { startWorkers } from './support/worker-process.ts';

const limits = { memory: '16MiB', cpu: '10ms', wall: '5s', inFlight: 64, pressure: { memory: 100, cpu: 100 } };
const open = (handlers: LabOptions['handlers'], more: object = {}, options: Partial<LabOptions> = {}) =>
  openLab({ policy: { governance: { resources: { ...limits, ...more } } }, handlers, ...options });

test('a call that waits is not charged for the work of others', async () => {
  const handlers = {
    Watch: 'for await (const _ of [0]) await new Promise(() => {}); yield {}',
    Sum: 'let n = 0; for (let i = 0; i < 1e5; i++) n += i % 7; return { key: request.key, count: n };',
  };
  const lab = await open(handlers);
  try {
    const waiting = lab.call('Watch', {});
    let over = false;
    void waiting.then(() => {
      over = true;
    });
    let answered = 0;
    while (!over) if ((await lab.call('Sum', { key: 'k' })).status === 0) answered++;
    const { status, message } = await waiting;
    assert.deepEqual([status, message], [8, 'the call took longer than the 5000 ms that it declares']);
    assert(answered > 100, `${answered} answers`);
    assert.deepEqual(lab.lost, []);
  } finally {
    lab.close();
  }
});

test('a worker that is only looked at reports what that takes, and charges nobody', async () => {
  const { socket, kill, processorTime } = await startWorkers()();
  const frames = new FrameReader(MAX_FRAME_BYTES);
  const reports: Extract<FromWorker, { kind: 'used' }>[] = [];
  let pongs = 0;
  const say = (message: ToWorker): unknown => socket.write(encodeFrame(message, MAX_FRAME_BYTES));
  socket.on('data', (chunk: Uint8Array) => {
    for (const text of frames.push(chunk)) {
      const message = JSON.parse(text) as FromWorker;
      if (message.kind === 'used') reports.push(message);
      if (message.kind !== 'pong' && message.kind !== 'ready') continue;
      if (message.kind === 'pong') pongs++;
      if (pongs < 3000) say({ kind: 'ping', ping: pongs });
    }
  });
  say({ kind: 'load', code: 'exports.handlers = {}', methods: [], metered: true });
  try {
    while (pongs < 3000) await sleep(20);
    const [first, last] = [reports[0], reports.at(-1)];
    assert(first !== undefined && last !== undefined);
    assert(last.total - first.total > 50_000, 'the pings are work');
    assert(processorTime() - last.total < 100_000, `${processorTime()} by the kernel, ${last.total} reported`);
    assert.deepEqual(
      reports.flatMap(({ calls }) => calls),
      [],
    );
  } finally {
    kill();
  }
});

test('what collects garbage for the meter is out of the handlers’ reach', async () => {
  const handlers = {
    Sum: "return { word: typeof gc + typeof globalThis.gc + Object.getOwnPropertyNames(globalThis).includes('gc') }",
  };
  const lab = await open(handlers);
  try {
    const { messages } = await lab.call('Sum', {});
    assert.deepEqual(messages, [{ word: 'undefinedundefinedfalse' }]);
  } finally {
    lab.close();
  }
});

test('garbage is not charged as memory', async () => {
  const handlers = {
    Collect: `let count = 0;
      for await (const { key } of request) { count += new Array(5e5).fill(key).length; }
      return { count };`,
  };
  const lab = await open(handlers, { cpu: '3s', wall: '300s' });
  try {
    const requests = Array.from({ length: 60 }, (_, at) => ({ key: String(at) }));
    const { status, messages, message } = await lab.call('Collect', requests);
    assert.equal(status, 0, message);
    assert.deepEqual(messages, [{ count: String(60 * 5e5) }]);
  } finally {
    lab.close();
  }
});
