/**
 * Later boots of a log in files: the chain from the tree of a proof to that of the newest boot,
 * verified offline.
 */

import { appraise, type Verdict } from '@enclaim/attestation';
import { type ChainedBoot, type LaterBoot, MAX_CHAINED_BOOTS, verifyBootChain } from '@enclaim/attestation/boot-chain';
import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import type { ProvenRecord } from '@enclaim/attestation/record-proof';
import * as z from 'zod';
import type { SavedOptions } from './saved.ts';

/** A boot of a log, with the verdict on its evidence. */
export interface LogBoot extends ChainedBoot {
  readonly verdict: Verdict;
}

/** A later boot as a file holds it: a {@link LaterBoot}, all bytes as base64. */
export interface SavedBoot {
  readonly quote: string;
  readonly found: readonly string[];
  readonly grown: readonly string[];
}

/** Hashes of a consistency proof between trees whose sizes are exact. */
const MAX_HASHES = 128;
const hashes = z.array(z.base64().max(44)).max(MAX_HASHES);

/** The boots of a file. */
export const savedBootsSchema: z.ZodType<readonly SavedBoot[]> = z
  .array(z.strictObject({ quote: z.base64(), found: hashes, grown: hashes }))
  .max(MAX_CHAINED_BOOTS);

/** Later boots for a file, the oldest first. */
export function savedBoots(later: readonly LaterBoot[]): SavedBoot[] {
  return later.map(({ quote, found, grown }) => ({
    quote: toBase64(quote),
    found: found.map(toBase64),
    grown: grown.map(toBase64),
  }));
}

/**
 * Verifies the boots of a file: each under its own quote, each continuing the one before, the first
 * of them the tree that the record was proved in. One that the references refuse is among them,
 * with a verdict that is not ok.
 *
 * @throws EvidenceError `log` where a boot does not go on from the one before, and those of quotes
 */
export async function verifySavedBoots(
  { checkpoint }: Pick<ProvenRecord, 'checkpoint'>,
  saved: readonly SavedBoot[],
  { references, now = Date.now }: Pick<SavedOptions, 'references' | 'now'>,
): Promise<readonly LogBoot[]> {
  const later: LaterBoot[] = saved.map(({ quote, found, grown }) => ({
    quote: fromBase64(quote),
    found: found.map(fromBase64),
    grown: grown.map(fromBase64),
  }));
  const chain = await verifyBootChain(checkpoint, later, references.anchors, { now: now() });
  return appraised(chain, references);
}

/** Boots of a verified chain, each with the verdict of references. */
export function appraised(
  chain: readonly ChainedBoot[],
  references: SavedOptions['references'],
): Promise<readonly LogBoot[]> {
  return Promise.all(
    chain.map(async (boot) => ({ ...boot, verdict: await appraise(boot.authenticated, references, []) })),
  );
}
