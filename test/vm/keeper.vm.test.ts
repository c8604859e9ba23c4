/** A key is kept over real boots, through the kernel's resource manager; another command line finds it shut. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startMachine } from '@enclaim/image/machine';
import { makeBootable } from './guest-image.ts';

test('what one boot sealed, the next one opens, until the command line is another', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-keeper-'));
  t.after(() => rm(folder, { recursive: true }));
  // By firmware and stub: they measure the command line into the registers that keys are sealed to.
  const bootable = await makeBootable(folder, 'test/vm/keeper-guest.ts', 'firmware');
  const boot = async (words = ''): Promise<unknown> => {
    const commandLine = `${bootable.commandLine}${words}`;
    const machine = await startMachine({ ...bootable, commandLine, stateFolder: join(folder, 'state') });
    await machine.stop();
    const lines = await Array.fromAsync(machine.console);
    return JSON.parse(lines.find((line) => line.startsWith('report:'))?.slice('report:'.length) ?? 'null');
  };
  const early = 'unusable';
  const begun = (epoch: number, began: 'new' | 'kept') => ({ keeper: 'tpm', epoch, began });
  assert.deepEqual(await boot(), { early, found: 0, isSame: null, epoch: 1, again: null, begun: begun(1, 'new') });
  const second = { early, found: 1, isSame: true, epoch: 2, again: 'policy-fail', begun: begun(2, 'kept') };
  assert.deepEqual(await boot(), second);
  const other = { early, found: 0, isSame: 'unusable', epoch: 1, again: 'provenance', begun: begun(1, 'new') };
  assert.deepEqual(await boot(' enclaim.ip6=auto'), other);
});
