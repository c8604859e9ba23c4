/** The part of the hostile suite that needs a VM: one boot, every attack under all layers and without the one that stops it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { startMachine } from '@enclaim/image/machine';
import { makeBootable } from './guest-image.ts';
import { VM_ATTACKS } from './hostile-attacks.ts';

const results = new Map<string, { readonly whole: boolean; readonly off: boolean }>();

before(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'enclaim-hostile-'));
  try {
    const machine = await startMachine(await makeBootable(folder, 'test/vm/hostile-guest.ts', 'kernel'));
    for await (const line of machine.console) {
      if (!line.startsWith('report:')) continue;
      const { name, ...result } = JSON.parse(line.slice('report:'.length));
      results.set(name, result);
    }
    await machine.stop();
  } finally {
    await rm(folder, { recursive: true });
  }
});

for (const [name, { layer }] of Object.entries(VM_ATTACKS)) {
  test(`${name}: stopped by ${layer}, and by nothing else`, () => {
    assert.deepEqual(results.get(name), { layer, whole: false, off: true });
  });
}
