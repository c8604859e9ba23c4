/** `.enclaim-proof`: a record's way to a quote of the hardware, in one JSON file. */

import type { Verdict } from '@enclaim/attestation';
import type { LaterBoot } from '@enclaim/attestation/boot-chain';
import { fromBase64, toBase64, utf8 } from '@enclaim/attestation/bytes';
import { decodeJson } from '@enclaim/attestation/canonical';
import { type NamedRecord, type ProvenRecord, parseRecordProof } from '@enclaim/attestation/record-proof';
import * as z from 'zod';
import { type LogBoot, type SavedBoot, savedBoots, savedBootsSchema, verifySavedBoots } from './later-boots.ts';
import { type SavedOptions, verifySavedProof } from './saved.ts';

/** A proof file. */
export interface ProofFile {
  readonly enclaim: 'proof/1';
  /** Hash of the record: of its leaf. */
  readonly record: NamedRecord['record'];
  /** The `enclaim.v1.LogProof` message, as base64. */
  readonly proof: string;
  /** Boots of the log after the one that wrote the record, the oldest first. */
  readonly boots?: readonly SavedBoot[];
}

const fileSchema: z.ZodType<ProofFile> = z.strictObject({
  enclaim: z.literal('proof/1'),
  record: z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]),
  proof: z.base64(),
  boots: savedBootsSchema.exactOptional(),
});
const LIMIT = 16 * 1024 * 1024;

/**
 * Whether bytes mean to be a proof file, and not a receipt file.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { isProofFile } from '@enclaim/client/proof';
 *
 * console.log(isProofFile(await readFile('7.enclaim-proof')));
 * ```
 */
export function isProofFile(content: Uint8Array): boolean {
  return /^\s*\{\s*"enclaim"\s*:\s*"proof\//.test(Buffer.from(content.subarray(0, 256)).toString('latin1'));
}

/**
 * The file for a proof.
 * @param bytes of the `enclaim.v1.LogProof`
 * @param later boots after the record's, as `readLaterBoots` gives them
 *
 * @example
 * ```ts
 * import { writeFile } from 'node:fs/promises';
 * import { proofFile, type ReceiptProof } from '@enclaim/client/proof';
 *
 * declare const proven: ReceiptProof; // of prove or proveRecord
 * await writeFile('7.enclaim-proof', proofFile(proven.record.record, proven.bytes));
 * ```
 */
export function proofFile(
  record: NamedRecord['record'],
  bytes: Uint8Array,
  later: readonly LaterBoot[] = [],
): Uint8Array {
  const boots = later.length === 0 ? {} : { boots: savedBoots(later) };
  const file: ProofFile = { enclaim: 'proof/1', record, proof: toBase64(bytes), ...boots };
  return utf8(`${JSON.stringify(file, undefined, 2)}\n`);
}

/**
 * Verifies a proof file offline: the record's way to the quote of its boot, and the boots after
 * that if the file has them.
 *
 * @throws DecodeError, EvidenceError, AppraisalError
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReferences } from '@enclaim/client';
 * import { verifyProofFile } from '@enclaim/client/proof';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const file = await readFile('7.enclaim-proof');
 * const { verdict, proof } = await verifyProofFile(file, { references });
 * if (verdict.ok) console.log(proof.index, proof.record);
 * ```
 */
export async function verifyProofFile(
  content: Uint8Array,
  options: SavedOptions,
): Promise<{ readonly verdict: Verdict; readonly proof: ProvenRecord; readonly later: readonly LogBoot[] }> {
  const { record, proof: encoded, boots = [] } = decodeJson(fileSchema, content, LIMIT);
  const bytes = fromBase64(encoded);
  const { index } = parseRecordProof(bytes);
  const { attestation, proof } = await verifySavedProof(bytes, { index: Number(index), record }, options);
  return { verdict: attestation.verdict, proof, later: await verifySavedBoots(proof, boots, options) };
}
