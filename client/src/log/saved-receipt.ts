/** COSE receipts of a machine's log, verified offline by the evidence that they carry. */

import { EvidenceError, type Verdict } from '@enclaim/attestation';
import { LABELS } from '@enclaim/attestation/labels';
import { parseCoseReceipt, type ReceiptProof, verifyCoseReceipt } from '@enclaim/attestation/scitt';
import { type SavedOptions, verifySaved } from '../saved.ts';

/** A COSE receipt that is authentic, with the verdict on its boot. */
export interface VerifiedCoseReceipt {
  readonly verdict: Verdict;
  /** Name of the log, and number of entries of the signed tree. */
  readonly origin: string;
  readonly size: number;
  /** Root of the signed tree. */
  readonly root: Uint8Array;
  readonly proof: ReceiptProof;
  /** Hash of the record's leaf, or root of the older tree: to be compared with what one has. */
  readonly known: Uint8Array;
}

/**
 * Verifies a COSE receipt (RFC 9942) of a machine's log: its evidence, and its proof under the log
 * key of that evidence.
 *
 * **Trust**: the disk is the host's, and a boot takes over the tree that it finds there. So a boot
 * vouches for records from `statement.log.size` on.
 *
 * @throws DecodeError; EvidenceError `format` without evidence, `binding` for a receipt of another
 * log or of an earlier boot's record, `log`, `signature`, and those of `verifySaved`
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReferences } from '@enclaim/client';
 * import { verifyCoseReceiptFile } from '@enclaim/client/log';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const { verdict, proof } = await verifyCoseReceiptFile(await readFile('7.cose'), { references });
 * if (verdict.ok) console.log(proof.kind);
 * ```
 */
export async function verifyCoseReceiptFile(bytes: Uint8Array, options: SavedOptions): Promise<VerifiedCoseReceipt> {
  const receipt = parseCoseReceipt(bytes);
  const { tree, proof, companion } = receipt;
  if (companion === null) throw new EvidenceError('format', 'a receipt without the evidence of its key');
  const { verdict, statement } = await verifySaved(companion.evidence, options);
  if (statement.version !== 3)
    throw new EvidenceError('binding', `the boot states version ${statement.version}, and no key of its log`);
  const { log, keys } = statement;
  if (tree.origin !== log.origin || tree.subject !== LABELS.record)
    throw new EvidenceError('binding', `a receipt of ${tree.origin}, the boot's log is ${log.origin}`);
  // layer: start of the boot of a receipt
  if (proof.kind === 'inclusion' && proof.index < log.size)
    throw new EvidenceError('binding', `record ${proof.index} was there before this boot, which began at ${log.size}`);
  const root = await verifyCoseReceipt(receipt, keys.log, companion.known);
  return { verdict, origin: tree.origin, size: tree.size, root, proof, known: companion.known };
}
