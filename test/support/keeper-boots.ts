/** Boots of one machine with a software TPM, as far as a keeper of keys sees them. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { sha256 } from '../../attestation/src/digest.ts';
import { type PcrBanks, pcrDigest } from '../../attestation/src/tpm/index.ts';
import { KEEPER_INDICES, KEEPER_SELECTION } from '../../guest/src/tpm/epoch-counter.ts';
import type { TpmKeeper } from '../../guest/src/tpm/keeper.ts';
import { NvCounter } from '../../guest/src/tpm/nv.ts';
import { type CounterDemand, pcrPolicy } from '../../guest/src/tpm/policy.ts';
import { extendPcr } from '../../guest/src/tpm/registers.ts';
import { Tpm } from '../../guest/src/tpm/tpm.ts';
import { type Swtpm, startSwtpm } from '../fakes/swtpm.ts';

/** What a boot of the system measures before it asks its keeper. */
export const OURS: Uint8Array = sha256(Buffer.from('policy'));

/** A TPM that ends with the test. */
export async function machine(t: TestContext): Promise<Swtpm> {
  const swtpm = await startSwtpm();
  t.after(() => swtpm.stop());
  return swtpm;
}

/** A TPM whose register 15 shows the policy, and all bytes that cross to and from it. */
export async function booted(
  t: TestContext,
  swtpm: Swtpm,
  policy: Uint8Array = OURS,
): Promise<{ tpm: Tpm; wire: Buffer[] }> {
  const { send, close } = await swtpm.connect();
  const wire: Buffer[] = [];
  const tpm = new Tpm({
    send: async (command) => {
      const answer = await send(command);
      wire.push(Buffer.from(command), Buffer.from(answer));
      return answer;
    },
    close,
  });
  t.after(() => tpm.close());
  await extendPcr(tpm, 15, [{ bank: 'sha256', digest: policy }]);
  return { tpm, wire };
}

/** The machine with a connection that ends after a number of commands, as a cut of the power ends it. */
export function cutAfter(swtpm: Swtpm, commands: number): Swtpm {
  let left = commands;
  const connect = async () => {
    const { send, close } = await swtpm.connect();
    return { send: async (it: Uint8Array) => (left-- > 0 ? send(it) : Promise.reject(new PowerCut())), close };
  };
  return { ...swtpm, connect };
}

/** The power is cut. */
export class PowerCut extends Error {
  override readonly name = 'PowerCut';
}

/** A TPM as it is, without a reset. */
export async function reopened(t: TestContext, swtpm: Swtpm): Promise<{ tpm: Tpm }> {
  const tpm = new Tpm(await swtpm.connect());
  t.after(() => tpm.close());
  return { tpm };
}

/** The counter of the system whose registers are `banks`, as anybody can compute and read it. */
export async function demandOf(tpm: Tpm, banks: PcrBanks): Promise<CounterDemand & { readonly counter: NvCounter }> {
  const digest = pcrDigest('sha256', KEEPER_SELECTION, banks) ?? assert.fail();
  const policy = pcrPolicy('sha256', KEEPER_SELECTION, digest);
  const counter = new NvCounter(tpm, KEEPER_INDICES.first, { selection: KEEPER_SELECTION, policy });
  return { counter, index: counter.index, name: counter.name, value: await counter.read() };
}

/** Begins an epoch under a fresh key. */
export async function epochOf(keeper: TpmKeeper): Promise<{ key: Buffer; blob: Uint8Array; epoch: number }> {
  const key = randomBytes(32);
  const blob = await keeper.seal(key, (await keeper.epoch()) + 1);
  return { key, blob, epoch: await keeper.advance() };
}
