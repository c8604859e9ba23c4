/** Phases of a boot come in order and once, and the first refusal counts, whatever is printed. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsoleWatch, type MachinePhase } from '../../src/machine/watch.ts';

function watched(...lines: string[]): { phases: MachinePhase[]; watch: ConsoleWatch } {
  const phases: MachinePhase[] = [];
  const watch = new ConsoleWatch((phase) => phases.push(phase));
  for (const line of lines) watch.line(line);
  return { phases, watch };
}

test('phases come in order and once, whatever is printed', async () => {
  const { phases, watch } = watched(
    'enclaim: guest 0.1.0',
    'x enclaim: serving',
    'enclaim: guest',
    'enclaim: serving',
    'enclaim: guest',
  );
  assert.deepEqual(phases, ['guest', 'serving']);
  await watch.served;
});

test('every line is told of, as it comes', () => {
  const { watch } = watched('BdsDxe: starting');
  const counts: number[] = [];
  watch.onLine = (count) => void counts.push(count);
  for (const line of ['', 'enclaim: guest']) watch.line(line);
  assert.deepEqual(counts, [2, 3]);
});

test('the first refusal counts', () => {
  const { watch, phases } = watched('enclaim: guest', 'enclaim: refused: policy differs', 'enclaim: refused: other');
  assert.equal(watch.refusal, 'policy differs');
  assert.deepEqual(phases, ['guest']);
});

test('a timer is lost where the kernel says so, and not where it says something else', () => {
  const { watch } = watched(
    'rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:',
    "[   88.195131] rcu: rcu_preempt kthread timer wakeup didn't happen for 5251 jiffies! g-1139 f0x0",
    'rcu: rcu_preempt kthread starved for 5252 jiffies! g-1139 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402 ->cpu=1',
    "enclaim: kthread timer wakeup didn't happen",
  );
  assert.equal(watch.timersLost, 1);
});
