/** Load with death in it: workers that are killed and calls that are hostile, and every honest call answered right. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkerProcess } from '../../runtime/src/worker/worker.ts';
import { type Lab, oneClass, openLab } from '../support/lab.ts';
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
  let over = false;
  const killing = (async () => {
    for (; !over; await sleep(600)) {
      const [victim] = living;
      victim?.kill();
      killed++;
    }
  })();
  try {
    await drive(20_000, 32, (index) => honest(lab, index));
  } finally {
    over = true;
    await killing;
    lab.close();
  }
  await sleep(200);
  assert.equal(zombies(), 0);
  assert.ok(killed > 3);
  console.log(`load: 20000 calls answered while ${killed} workers were killed`);
});

/** `ENCLAIM_TEST_CALLS=100000` for the whole run. */
const CALLS = Number(process.env.ENCLAIM_TEST_CALLS ?? 20_000);

test(`${CALLS} calls of which one in a hundred is hostile: every honest one is answered right`, async () => {
  const hostile = ['throw new Error("x")', 'return 7', 'return await ctx.store.cases.get("none").x', 'for (;;);'];
  const lab = await openLab({
    handlers: {
      Sum: SUM,
      Put: `switch (request.key) { ${hostile.map((body, at) => `case '${at}': { ${body} }`).join(' ')} }`,
    },
    // In one class, so that the hostile ones are beside the honest ones.
    classes: oneClass,
    size: 2,
    stall: 400,
  });
  let refused = 0;
  const started = performance.now();
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
  const seconds = (performance.now() - started) / 1000;
  assert.equal(refused, CALLS / 100);
  console.log(
    `load: ${CALLS - refused} honest and ${refused} hostile calls in ${seconds.toFixed(1)} s, ${lab.lost.length} workers lost`,
  );
});
