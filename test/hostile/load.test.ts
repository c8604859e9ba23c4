/** Load with death in it: workers that are killed and calls that are hostile, and every honest call answered right. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { WorkerProcess } from '../../runtime/src/worker/worker.ts';
import { eventually } from '../support/eventually.ts';
import { type Lab, oneClass, openLab } from '../support/lab.ts';
import { count } from '../support/long.ts';
import { startWorkers } from '../support/worker-process.ts';

/** Children of this process that are dead and not waited for. */
function zombies(): number {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1] ?? '';
      } catch {
        return '';
      }
    })
    .filter((stat) => stat.startsWith(`Z ${process.pid} `)).length;
}

/** Runs `count` calls, `width` at a time. */
async function drive(count: number, width: number, call: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await call(index);
  };
  await Promise.all(Array.from({ length: width }, lane));
}

async function honest(lab: Lab, index: number): Promise<void> {
  const { status, message, messages } = await lab.call('Sum', { key: `k${index}` });
  assert.equal(status, 0, message);
  assert.deepEqual(messages, [{ key: `k${index}`, count: '3' }]);
}

/** How many calls are made. */
const CALLS = count(10_000, 100_000);
const KILLED_EVERY = 1000;

const SUM =
  'const keys = [1, 2, 3]; await ctx.store.open.get(request.key); return { key: request.key, count: keys.length }';

test('workers killed under load: no call fails, none hangs, nothing is left', async () => {
  const living = new Set<WorkerProcess>();
  const start = startWorkers();
  const lab = await openLab({
    handlers: { Sum: SUM },
    size: 2,
    factory: async () => {
      const worker = await start();
      living.add(worker);
      worker.socket.once('close', () => living.delete(worker));
      return worker;
    },
  });
  let killed = 0;
  try {
    await drive(CALLS, 32, async (index) => {
      // Counted in calls: on a slow machine, too, a worker answers some before the next is killed.
      if (index % KILLED_EVERY === KILLED_EVERY - 1) {
        const [victim] = living;
        victim?.kill();
        if (victim !== undefined) killed++;
      }
      await honest(lab, index);
    });
  } finally {
    lab.close();
  }
  await eventually('the end of all processes', () => zombies() === 0);
  assert.ok(killed > 3, `${killed} workers killed`);
});

test(`${CALLS} calls of which one in a hundred is hostile: every honest one is answered right`, async () => {
  const hostile = [
    'throw new Error("x")',
    'return 7',
    'return await ctx.store.cases.get("none").x',
    'const kept = []; for (;;) kept.push(new Array(1e5).fill({}));', // more than its worker has
  ];
  const lab = await openLab({
    handlers: {
      Sum: SUM,
      Put: `switch (request.key) { ${hostile.map((body, at) => `case '${at}': { ${body} }`).join(' ')} }`,
    },
    // In one class, so that the hostile ones are beside the honest ones.
    classes: oneClass,
    size: 2,
    heap: 64,
  });
  let refused = 0;
  try {
    await drive(CALLS, 64, async (index) => {
      if (index % 100 !== 0) return honest(lab, index);
      // One hostile call in fifty takes its worker with it.
      const kind = index % 5000 === 0 ? 3 : (index / 100) % 3;
      const { status } = await lab.call('Put', { key: String(kind) });
      assert.notEqual(status, 0);
      refused++;
    });
  } finally {
    lab.close();
  }
  assert.equal(refused, CALLS / 100);
  assert.ok(lab.lost.length > 0);
});
