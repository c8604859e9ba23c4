/** A machine that waits for a processor is not silent; one that hangs is. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Silence, waitedForProcessor, watchSilence } from '../../src/machine/silence.ts';

/** A program whose time the test sets, and whether it was called silent. */
class Program {
  time = 0;
  over = false;
  readonly silence: Silence = watchSilence(
    100,
    () => this.time,
    () => (this.over = true),
  );
}

test('a program is silent by its own time alone, from its last word on', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const [starved, hanging, speaking, ended] = [new Program(), new Program(), new Program(), new Program()];
  ended.silence.end();
  for (let look = 0; look < 1000; look++) {
    starved.time += 0.09;
    for (const program of [hanging, speaking, ended]) program.time += 5;
    if (look % 10 === 0) speaking.silence.broken();
    t.mock.timers.tick(5);
  }
  assert.deepEqual(
    [starved, hanging, speaking, ended].map(({ over }) => over),
    [false, true, false, false],
  );
  starved.time += 10;
  t.mock.timers.tick(5);
  assert.ok(starved.over);
});

test('the kernel tells how long a program has waited among more than there are processors', async () => {
  const loops = Array.from({ length: 2 * availableParallelism() }, () =>
    spawn('sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }),
  );
  try {
    // Each has waited in the end, whatever else the computer does; the test's own limit finds a hang.
    for (const { pid } of loops) while (waitedForProcessor(pid ?? 0) < 50) await sleep(10);
  } finally {
    for (const loop of loops) loop.kill('SIGKILL');
  }
  assert.equal(waitedForProcessor(2 ** 30), 0, 'of no program nothing is known');
});
