/**
 * Boots that are cut off at any step of the change of epochs find their state; boots on a disk of
 * another time, or a copy, find none.
 */

import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { EpochCounter, KEEPER_SELECTION } from '../../guest/src/tpm/epoch-counter.ts';
import { TpmKeeper } from '../../guest/src/tpm/keeper.ts';
import { readPcrs } from '../../guest/src/tpm/registers.ts';
import type { Swtpm } from '../fakes/swtpm.ts';
import { booted, cutAfter, machine, PowerCut } from '../support/keeper-boots.ts';

/** One of the two places that a disk's state is written to, in turn. */
interface Slot {
  readonly epoch: number;
  readonly blob: Uint8Array;
  readonly sealed: Uint8Array;
}

type Disk = Map<number, Slot>;

const STEPS = ['opened', 'written', 'advanced'] as const;
type Step = (typeof STEPS)[number];

/** A boot of the design: it reads the state, begins an epoch, and adds a word to the state. */
async function boot(
  t: TestContext,
  swtpm: Swtpm,
  disk: Disk,
  { word, endAfter }: { readonly word: string; readonly endAfter?: Step },
): Promise<string> {
  const step = (done: Step): void => {
    if (done === endAfter) throw new PowerCut(done);
  };
  const { tpm } = await booted(t, swtpm);
  try {
    const keeper = await TpmKeeper.open(tpm);
    const present = await keeper.epoch();
    const slot = [...disk.values()].find(({ epoch }) => epoch === present);
    if (slot === undefined && present > 0) throw new Error(`no state of epoch ${present}`);
    const state = slot === undefined ? '' : decrypted(await keeper.open(slot.blob), slot.sealed);
    step('opened');
    const key = randomBytes(32);
    const next = `${state} ${word}`.trim();
    const epoch = present + 1;
    disk.set(epoch % 2, { epoch, blob: await keeper.seal(key, epoch), sealed: encrypted(key, next) });
    step('written');
    assert.equal(await keeper.advance(), epoch);
    step('advanced');
    return next;
  } finally {
    await tpm.close();
    await swtpm.powerCycle();
  }
}

function encrypted(key: Uint8Array, text: string): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, new Uint8Array(12));
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

function decrypted(key: Uint8Array, bytes: Uint8Array): string {
  const decipher = createDecipheriv('aes-256-gcm', key, new Uint8Array(12));
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString();
}

test('a boot that is cut off after any step leaves the next one with the state', async (t) => {
  const swtpm = await machine(t);
  const disk: Disk = new Map();
  // The first boot of all, which has to make the counter, is cut off as well.
  await assert.rejects(boot(t, swtpm, disk, { word: 'lost', endAfter: 'opened' }), PowerCut);
  await assert.rejects(boot(t, swtpm, disk, { word: 'lost', endAfter: 'written' }), PowerCut);
  let expected = await boot(t, swtpm, disk, { word: 'first' });
  assert.equal(expected, 'first');
  for (const endAfter of STEPS) {
    await assert.rejects(boot(t, swtpm, disk, { word: endAfter, endAfter }), PowerCut);
    // Before the counter went up the epoch was not begun; afterwards it was, with what it wrote.
    expected = `${expected}${endAfter === 'advanced' ? ` ${endAfter}` : ''} after-${endAfter}`;
    assert.equal(await boot(t, swtpm, disk, { word: `after-${endAfter}` }), expected);
  }
});

test('the making of the counter can be cut off after each command to the TPM', async (t) => {
  const swtpm = await machine(t);
  // Each attempt lets one command more through than the one before it.
  for (let commands = 1; ; commands++) {
    const { tpm } = await booted(t, cutAfter(swtpm, commands));
    const whole = await (async () => {
      const keeper = await TpmKeeper.open(tpm);
      const present = await keeper.epoch();
      assert.equal(present, 0, `nothing is kept after ${commands} commands`);
      await keeper.seal(randomBytes(32), 1);
      return true;
    })().catch((error: unknown) => {
      if (!(error instanceof PowerCut)) throw error;
      return false;
    });
    await tpm.close();
    await swtpm.powerCycle();
    if (whole) break;
  }
  const disk: Disk = new Map();
  assert.equal(await boot(t, swtpm, disk, { word: 'first' }), 'first');
});

test('a removal that is cut off leaves no pair of indices that its launch does not take again', async (t) => {
  const swtpm = await machine(t);
  const indices = async (): Promise<number> =>
    (await swtpm.tool('tpm2_getcap', 'handles-nv-index')).split(' 0x180').length;
  const begun = async (): Promise<void> => {
    const { tpm } = await booted(t, swtpm);
    const counter = new EpochCounter(tpm, await readPcrs(tpm, KEEPER_SELECTION));
    await counter.begin();
    assert.equal((await counter.present()).epoch, 0);
    await tpm.close();
    await swtpm.powerCycle();
  };
  await begun();
  const two = await indices();
  const { tpm } = await booted(t, swtpm);
  const { kept } = await new EpochCounter(tpm, await readPcrs(tpm, KEEPER_SELECTION)).present();
  await kept?.counter.remove();
  await tpm.close();
  await swtpm.powerCycle();
  assert.notEqual(await indices(), two);
  await begun();
  assert.equal(await indices(), two);
  const { tpm: again } = await booted(t, swtpm);
  const counter = new EpochCounter(again, await readPcrs(again, KEEPER_SELECTION));
  await (await counter.present()).kept?.counter.remove();
  await counter.remove();
  await again.close();
  assert.equal(await indices(), two - 2);
});

test('a disk of yesterday is refused, also with the slot of yesterday under the number of today', async (t) => {
  const swtpm = await machine(t);
  const disk: Disk = new Map();
  await boot(t, swtpm, disk, { word: 'one' });
  const yesterday: Disk = new Map(disk);
  await boot(t, swtpm, disk, { word: 'two' });
  await boot(t, swtpm, disk, { word: 'three' });
  await assert.rejects(boot(t, swtpm, new Map(yesterday), { word: 'rolled back' }), /no state of epoch 3/);
  const renamed = [...yesterday].map(([at, slot]) => [at, { ...slot, epoch: 3 }] as const);
  await assert.rejects(boot(t, swtpm, new Map(renamed), { word: 'rolled back' }), { code: 'policy-fail' });
  assert.equal(await boot(t, swtpm, disk, { word: 'four' }), 'one two three four');
});

test('of two boots of a copied disk, the second is refused', async (t) => {
  const swtpm = await machine(t);
  const disk: Disk = new Map();
  await boot(t, swtpm, disk, { word: 'one' });
  const copy: Disk = new Map(disk);
  assert.equal(await boot(t, swtpm, disk, { word: 'ours' }), 'one ours');
  await assert.rejects(boot(t, swtpm, copy, { word: 'fork' }), /no state of epoch 2/);
});
