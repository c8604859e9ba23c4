/** Reading and extending registers (Part 3, 22). */

import { HASH_LENGTH } from '@enclaim/attestation/digest';
import { formatSelection, type PcrBanks, type PcrSelection } from '@enclaim/attestation/tpm';
import { PCR_EXTEND, PCR_READ, type TaggedDigest } from './commands.ts';
import { TpmError } from './error.ts';
import type { Tpm } from './tpm.ts';

/**
 * The values of the selected registers. A TPM gives eight at a time, so they may change in between.
 * The caller compares them with a quote.
 * @throws TpmError `unusable` if the TPM lacks one of them
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
