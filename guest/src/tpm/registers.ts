/** Reading and extending registers (Part 3, 22). */

import { HASH_LENGTH, type HashName } from '@enclaim/attestation/digest';
import { formatSelection, HASH_ID, type PcrBanks, type PcrSelection } from '@enclaim/attestation/tpm';
import { GET_CAPABILITY, PCR_EVENT, PCR_EXTEND, PCR_READ, type TaggedDigest } from './commands.ts';
import { TpmError } from './error.ts';
import type { Tpm } from './tpm.ts';

/** Banks whose registers the TPM keeps, of those whose hash is known here. */
export async function activeBanks(tpm: Tpm): Promise<readonly HashName[]> {
  const { data } = await tpm.run(GET_CAPABILITY, { capability: 'pcrs', property: 0, count: 16 });
  if (data.capability !== 'pcrs') throw new TpmError('response', `asked for pcrs, got ${data.capability}`);
  const active = data.banks.filter(({ bitmap }) => bitmap.some((byte) => byte !== 0)).map(({ bank }) => bank);
  return (Object.keys(HASH_ID) as HashName[]).filter((name) => active.includes(HASH_ID[name]));
}

/**
 * The values of the selected registers. A TPM gives eight at a time, so they may change in between: compare with a quote.
 * @throws TpmError `unusable` where the TPM lacks one of them
 */
export async function readPcrs(tpm: Tpm, selection: PcrSelection): Promise<PcrBanks> {
  const banks = new Map(selection.map(({ bank }) => [bank, new Map<number, Uint8Array>()]));
  for (;;) {
    const missing = selection
      .map(({ bank, pcrs }) => ({ bank, pcrs: pcrs.filter((pcr) => !banks.get(bank)?.has(pcr)) }))
      .filter(({ pcrs }) => pcrs.length > 0);
    if (missing.length === 0) return banks;
    const { selection: given, values } = await tpm.run(PCR_READ, { selection: missing });
    const registers = given.flatMap(({ bank, pcrs }) => pcrs.map((pcr) => ({ bank, pcr })));
    if (registers.length === 0) throw new TpmError('unusable', `the TPM has no ${formatSelection(missing)}`);
    for (const [i, { bank, pcr }] of registers.entries()) {
      const value = values[i];
      const wanted = missing.some((part) => part.bank === bank && part.pcrs.includes(pcr));
      if (!wanted || value?.length !== HASH_LENGTH[bank] || values.length !== registers.length) {
        throw new TpmError('response', `PCR_Read answered ${formatSelection(given)} with other values`);
      }
      banks.get(bank)?.set(pcr, value);
    }
  }
}

/** Extends one register by a digest for each bank given; banks left out keep their value. */
export async function extendPcr(tpm: Tpm, pcr: number, digests: readonly TaggedDigest[]): Promise<void> {
  await tpm.run(PCR_EXTEND, { pcr, digests });
}

/** Extends one register, in every active bank, by that bank's own hash of at most 1024 bytes of `data`. */
export async function measurePcr(tpm: Tpm, pcr: number, data: Uint8Array): Promise<void> {
  await tpm.run(PCR_EVENT, { pcr, data });
}
