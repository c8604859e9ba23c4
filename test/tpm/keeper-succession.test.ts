/** A system hands its state's key to one successor, by the registers that this will have, and to no other. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { sha256 } from '../../attestation/src/digest.ts';
import { extendPcr as foldPcr, type PcrBanks, zeroPcr } from '../../attestation/src/tpm/index.ts';
import { KEEPER_SELECTION } from '../../guest/src/tpm/epoch-counter.ts';
import { TpmKeeper } from '../../guest/src/tpm/keeper.ts';
import { readPcrs } from '../../guest/src/tpm/registers.ts';
import type { Tpm } from '../../guest/src/tpm/tpm.ts';
import type { Swtpm } from '../fakes/swtpm.ts';
import { booted, epochOf, machine, OURS } from '../support/keeper-boots.ts';

const NEXT = sha256(Buffer.from('the next policy'));
const OTHER = sha256(Buffer.from('another policy'));

/** The registers of a boot under a policy, as they are computed before there is one. */
function predicted(policy: Uint8Array): PcrBanks {
  const zero = zeroPcr('sha256');
  const values = KEEPER_SELECTION.flatMap(({ pcrs }) => pcrs).map((pcr) => [pcr, zero] as const);
  return new Map([['sha256', new Map([...values, [15, foldPcr('sha256', zero, policy)]])]]);
}

/** Boots under a policy, uses the TPM, and cuts the power. */
async function during<T>(
  t: TestContext,
  swtpm: Swtpm,
  policy: Uint8Array,
  use: (keeper: TpmKeeper, tpm: Tpm) => Promise<T>,
): Promise<T> {
  const { tpm } = await booted(t, swtpm, policy);
  const result = await use(await TpmKeeper.open(tpm), tpm);
  await tpm.close();
  await swtpm.powerCycle();
  return result;
}

const handed = (t: TestContext, swtpm: Swtpm) =>
  during(t, swtpm, OURS, async (keeper, tpm) => {
    assert.deepEqual(await readPcrs(tpm, KEEPER_SELECTION), predicted(OURS));
    await assert.rejects(keeper.handOver(new Uint8Array(32), predicted(NEXT)), /no epoch/);
    const { key, blob: own } = await epochOf(keeper);
    return { key, own, blob: await keeper.handOver(key, predicted(NEXT)) };
  });

test('the successor opens the key, begins an epoch of its own, and ends those of its predecessor', async (t) => {
  const swtpm = await machine(t);
  const { key, own, blob } = await handed(t, swtpm);
  await during(t, swtpm, NEXT, async (keeper) => {
    assert.deepEqual(Buffer.from(await keeper.takeOver(blob, predicted(OURS))), key);
    await assert.rejects(keeper.takeOver(own, predicted(OURS)), { code: 'policy-fail' }, 'only what was handed over');
    await assert.rejects(keeper.retire(predicted(OURS), 1), /no epoch of this system/);
    assert.equal((await epochOf(keeper)).epoch, 1);
    await assert.rejects(keeper.retire(predicted(OURS), 2), /gone on to epoch 1, where 2/);
    await keeper.retire(predicted(OURS), 1);
    await assert.rejects(keeper.takeOver(blob, predicted(OURS)), { code: 'unusable' });
  });
  // The predecessor on the same machine finds nothing, and a counter made anew opens nothing that was.
  await during(t, swtpm, OURS, async (keeper) => {
    assert.equal(await keeper.epoch(), 0);
    await epochOf(keeper);
    await assert.rejects(keeper.open(own), { code: 'policy-fail' });
  });
  await during(t, swtpm, NEXT, (keeper) =>
    assert.rejects(keeper.takeOver(blob, predicted(OURS)), { code: 'policy-fail' }),
  );
});

const registers = (banks: PcrBanks) => [...(banks.get('sha256')?.values() ?? [])];
/** The way from one policy to the next, by names that registers of a real launch would show. */
const between = (from: Uint8Array, to: Uint8Array) =>
  ({ policy: `sha384:${'00'.repeat(48)}`, from: registers(predicted(from)), to: registers(predicted(to)) }) as const;

test('nothing is handed over to a successor that has epochs of its own, and the predecessor sees them', async (t) => {
  const swtpm = await machine(t);
  await during(t, swtpm, NEXT, async (keeper) => void (await epochOf(keeper)));
  await during(t, swtpm, OURS, async (keeper) => {
    const { key } = await epochOf(keeper);
    await assert.rejects(keeper.handOver(key, predicted(NEXT)), /state of its own here: NV index 0x1804e00/);
    assert.equal(await keeper.heirs.epochOfHeir(between(OURS, NEXT)), 1);
    assert.equal(await keeper.heirs.epochOfHeir(between(OURS, OTHER)), 0);
    await assert.rejects(keeper.heirs.epochOfHeir(between(OTHER, NEXT)), /another launch than this/);
  });
});

test('a boot ends the epochs of the launch alone that it came from, whatever its runtime asks for', async (t) => {
  const swtpm = await machine(t);
  await during(t, swtpm, OTHER, async (keeper) => void (await epochOf(keeper)));
  await during(t, swtpm, NEXT, async (keeper) => {
    await epochOf(keeper);
    await assert.rejects(keeper.heirs.retire(between(OTHER, NEXT), 1), /another than that whose state this boot has/);
    await assert.rejects(keeper.heirs.resume(between(OTHER, NEXT)), /do not show policy/);
  });
  await during(t, swtpm, OTHER, async (keeper) => assert.equal(await keeper.epoch(), 1));
});

test('another system does not open it, and no epoch of the predecessor but that one', async (t) => {
  const swtpm = await machine(t);
  const { key, own, blob } = await handed(t, swtpm);
  await during(t, swtpm, OTHER, async (keeper) => {
    await assert.rejects(keeper.takeOver(blob, predicted(OURS)), { code: 'policy-fail' });
    await assert.rejects(keeper.takeOver(own, predicted(OURS)), { code: 'policy-fail' });
  });
  // The predecessor goes on instead.
  await during(t, swtpm, OURS, async (keeper) => {
    assert.deepEqual(Buffer.from(await keeper.open(own)), key);
    await epochOf(keeper);
  });
  await during(t, swtpm, NEXT, (keeper) =>
    assert.rejects(keeper.takeOver(blob, predicted(OURS)), { code: 'policy-fail' }),
  );
});

test('what another system hands over is refused: it says itself who it was', async (t) => {
  const swtpm = await machine(t);
  await handed(t, swtpm);
  const forged = await during(t, swtpm, OTHER, async (keeper) => {
    const { key } = await epochOf(keeper);
    return { key, blob: await keeper.handOver(key, predicted(NEXT)) };
  });
  await during(t, swtpm, NEXT, async (keeper) => {
    await assert.rejects(keeper.takeOver(forged.blob, predicted(OURS)), { code: 'provenance' });
    // The control: a successor that believes in the other one has its key.
    assert.deepEqual(Buffer.from(await keeper.takeOver(forged.blob, predicted(OTHER))), forged.key);
  });
});
