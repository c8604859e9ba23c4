/** COSE receipts (RFC 9942) of a machine's log, from verified tiles, a copy of them or its disk. */

import { EvidenceError } from '@enclaim/attestation';
import { equalBytes } from '@enclaim/attestation/bytes';
import { LABELS } from '@enclaim/attestation/labels';
import {
  type CoseReceipt,
  encodeCoseReceipt,
  keyThumbprint,
  parseCoseReceipt,
  type ReceiptProof,
  rootOfReceipt,
  verifyCoseReceipt,
} from '@enclaim/attestation/scitt';
import type { Attestation } from '../attestation.ts';
import { LogError } from './log-error.ts';

/** The subject of a receipt: a record by its index, or the tree of the first `old` entries. */
export type ReceiptOf = { readonly index: number } | { readonly old: number };

/** Hashes of one tree. */
export interface ReceiptSource {
  leaf(index: number): Promise<Uint8Array>;
  inclusion(index: number): Promise<readonly Uint8Array[]>;
  rootAt(size: number): Promise<Uint8Array>;
  consistency(old: number): Promise<readonly Uint8Array[]>;
}

/** A signed tree, its hashes, and the boot that signed it. */
interface SignedTree {
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly began: number };
  readonly source: ReceiptSource;
  readonly coseSignature: Uint8Array;
  readonly attestation: Attestation;
}

/** A receipt under the signature of a boot. @throws LogError `checkpoint`; RangeError */
export async function signedReceipt(
  of: ReceiptOf,
  { checkpoint: { origin, size, began }, source, coseSignature: signature, attestation }: SignedTree,
): Promise<Uint8Array> {
  const { statement, evidence } = attestation;
  if (statement.version !== 3) throw new LogError('unsupported', 'the boot states no key of its log');
  if ('index' in of && of.index < began)
    throw new RangeError(`record ${of.index} was there before this boot, which began at ${began}`);
  const tree = { origin, subject: LABELS.record, size };
  const { proof, known } = await provenBy(source, of, size);
  const companion = { known, evidence };
  const receipt: CoseReceipt = { tree, keyId: keyThumbprint(statement.keys.log), proof, signature, companion };
  try {
    await verifyCoseReceipt(receipt, statement.keys.log, known);
  } catch (cause) {
    if (!(cause instanceof EvidenceError)) throw cause;
    throw new LogError('checkpoint', `no receipt of ${origin}: ${cause.message}`, { cause });
  }
  return encodeCoseReceipt(receipt);
}

/**
 * A receipt under the signature that another receipt of the same tree carries: what a copy of a log
 * is enough for. It is verified like any other.
 *
 * @param source hashes of that tree, from wherever
 * @throws DecodeError; EvidenceError `log` if they are of another tree; RangeError beyond it
 */
export async function receiptUnder(
  other: Uint8Array,
  of: ReceiptOf,
  source: (tree: { readonly size: number; readonly root: Uint8Array }) => ReceiptSource | Promise<ReceiptSource>,
): Promise<Uint8Array> {
  const signed = parseCoseReceipt(other);
  if (signed.companion === null) throw new EvidenceError('format', 'a receipt without the evidence of its key');
  const { size } = signed.tree;
  const root = rootOfReceipt(signed, signed.companion.known);
  const { proof, known } = await provenBy(await source({ size, root }), of, size);
  const receipt = { ...signed, proof, companion: { ...signed.companion, known } };
  if (!equalBytes(rootOfReceipt(receipt, known), root))
    throw new EvidenceError('log', `the hashes are not those of the signed tree of ${size}`);
  return encodeCoseReceipt(receipt);
}

async function provenBy(
  source: ReceiptSource,
  of: ReceiptOf,
  size: number,
): Promise<{ readonly proof: ReceiptProof; readonly known: Uint8Array }> {
  if ('index' in of) {
    const { index } = of;
    if (!(index >= 0 && index < size)) throw new RangeError(`record ${index}, where the log has ${size}`);
    const path = await source.inclusion(index);
    return { proof: { kind: 'inclusion', index, path }, known: await source.leaf(index) };
  }
  const { old } = of;
  if (!(old >= 1 && old < size)) throw new RangeError(`a tree of ${old}, where the log has ${size}`);
  return { proof: { kind: 'consistency', old, path: await source.consistency(old) }, known: await source.rootAt(old) };
}
