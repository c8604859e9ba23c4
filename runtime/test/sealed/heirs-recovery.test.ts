/** An heir takes over no older copy that signers have stated, and no recovery of the launch before shuts it. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '@enclaim/attestation/bytes';
import { digestText, sha256, sha384 } from '@enclaim/attestation/digest';
import { encodeRecovery, RECOVERY_AT, recoveryArea } from '@enclaim/attestation/recovery';
import { FakeKeeper } from '../../../test/fakes/keeper.ts';
import type { HeirKeeper, Passage } from '../../src/storage/sealed/keeper.ts';
import { SealedStore } from '../../src/storage/sealed/sealed-store.ts';
import { SUCCESSION_COLLECTION } from '../../src/storage/sealed/successions.ts';
import { FakeDisk } from '../log/support.ts';
import { MIB, TestClock } from './support.ts';

const FOREVER = { retention: Number.POSITIVE_INFINITY };
const policy = digestText('sha384', sha384(randomBytes(1)));
const succession = sha256(randomBytes(1));
const passage: Passage = { policy, from: [new Uint8Array(32)], to: [new Uint8Array(32).fill(1)] };

/** A keeper of a launch, from which another one on the same machine can inherit. */
class Launch extends FakeKeeper {
  heirs!: HeirKeeper;
  recovered = 0;
  readonly recover = async (): Promise<void> => {
    this.recovered++;
  };
}

/** A launch, and its heir. */
function launches(): [Launch, Launch] {
  const [first, second] = [new Launch(), new Launch()];
  const handed = new Map<string, Uint8Array>();
  const heirs: HeirKeeper = {
    handOver: async (key) => {
      const blob = randomBytes(8);
      handed.set(toHex(blob), Uint8Array.from(key));
      return blob;
    },
    epochOfHeir: () => second.epoch(),
    takeOver: async (blob) => Uint8Array.from(handed.get(toHex(blob)) ?? assert.fail()),
    resume: async () => {},
    retire: async () => {},
  };
  first.heirs = heirs;
  second.heirs = heirs;
  return [first, second];
}

/** A boot of a launch. @param state that its succession passes, if it inherits */
async function bootOf(disk: FakeDisk, keeper: Launch, state?: SealedStore['state']): Promise<SealedStore> {
  return await SealedStore.open({
    ...{ keeper, log: await disk.open(), clock: new TestClock(), system: 'test' },
    collections: new Map([
      ['cases', FOREVER],
      [SUCCESSION_COLLECTION, FOREVER],
    ]),
    ...(state !== undefined && { inherits: async () => ({ digest: succession, state, passage }) }),
    recovers: async () => assert.fail('a recovery is judged'),
  });
}

/** A disk that a launch handed over in its epoch 7, with a recovery of another epoch. */
async function handedOver(first: Launch, epoch: number) {
  const disk = new FakeDisk(8 * MIB);
  for (let boot = 1; boot <= 5; boot++) await (await bootOf(disk, first)).close();
  const store = await bootOf(disk, first);
  await store.bequeath({ passage, digest: `sha256:${toHex(succession)}`, succession });
  assert.equal(store.epoch, 7);
  await store.close();
  const log = { size: 0, root: digestText('sha256', sha256(new Uint8Array())) };
  const file = { enclaim: 'recovery/1', document: { policy, epoch, log }, signatures: [] } as const;
  disk.bytes.set(recoveryArea(encodeRecovery(file)), RECOVERY_AT);
  return { disk, state: store.state };
}

test('the recovery of a launch before, which had its time there, shuts its heir at no boot', async () => {
  const [first, second] = launches();
  const { disk, state } = await handedOver(first, 6);
  const store = await bootOf(disk, second, state);
  assert.equal(store.opened.inherited?.state, state);
  await store.retire();
  await store.close();
  for (let boot = 1; boot <= 8; boot++) {
    const next = await bootOf(disk, second);
    assert.deepEqual([next.opened.inherited, next.opened.recovered], [null, null]);
    await next.close();
  }
  assert.equal(second.recovered, 0);
});

test('an heir does not go on with a copy that signers have stated to be an older one', async () => {
  for (const epoch of [7, 8]) {
    const [first, second] = launches();
    const { disk, state } = await handedOver(first, epoch);
    await assert.rejects(bootOf(disk, second, state), { code: 'state', message: /boot that one first/ });
    assert.equal(await second.epoch(), 0);
  }
});

test('a recovery of another epoch than that of the launch before is held to the epochs of the heir', async () => {
  const [first, second] = launches();
  const { disk, state } = await handedOver(first, 6);
  await (await bootOf(disk, second, state)).close();
  const log = { size: 9, root: digestText('sha256', sha256(new Uint8Array())) };
  const file = { enclaim: 'recovery/1', document: { policy, epoch: 5, log }, signatures: [] } as const;
  disk.bytes.set(recoveryArea(encodeRecovery(file)), RECOVERY_AT);
  await assert.rejects(bootOf(disk, second), { code: 'state', message: /a recovery of epoch 5/ });
});
