/**
 * COSE receipts (RFC 9942) over RFC9162_SHA256: that an entry is in a tree, or that a tree
 * continues an older one, under the signature of the log's key.
 */

import { equalBytes } from '../bytes.ts';
import { type CborMap, COSE_SIGN1_TAG, decodeCbor, encodeCbor, parseDetachedSign1 } from '../cbor/index.ts';
import type { Sha256 } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { rootFromConsistency, rootFromPath } from '../merkle.ts';
import type { Ed25519Text } from '../statement.ts';
import { asArray, asBytes, asMap, asSize, asText, field } from './fields.ts';
import { verifyUnderKey } from './signature.ts';
import { CLAIM, HEADER, type NamedTree, treeHeaders } from './signed-tree.ts';

/** Largest receipt in bytes: evidence of a machine, and the way to it. */
export const MAX_COSE_RECEIPT_BYTES: number = (1 << 20) + (1 << 16);
/** Hashes of a path between trees whose sizes are exact. */
const MAX_PATH = 2 * 53;
const PROOFS = { inclusion: -1, consistency: -2 } as const;
/** Unprotected header of ours: the start of the proof, and the evidence of the key. */
const OURS = 'enclaim';

/** The proof in a receipt. */
export type ReceiptProof =
  | { readonly kind: 'inclusion'; readonly index: number; readonly path: readonly Uint8Array[] }
  | { readonly kind: 'consistency'; readonly old: number; readonly path: readonly Uint8Array[] };

/** The part of a receipt of a machine's log beside the proof. It is not signed. */
export interface ReceiptCompanion {
  /** Hash of the leaf, or root of the older tree: what the proof starts from. */
  readonly known: Uint8Array;
  /** The `enclaim.v1.Evidence` message of the boot that has the key. */
  readonly evidence: Uint8Array;
}

/** A receipt as parsed. **Trust**: none of it, until `verifyCoseReceipt` has passed. */
export interface CoseReceipt {
  readonly tree: NamedTree;
  /** Thumbprint of the key. */
  readonly keyId: Uint8Array;
  readonly proof: ReceiptProof;
  /** Ed25519, 64 bytes. */
  readonly signature: Uint8Array;
  /** Null where the reader has the leaf or the older root, and knows the key. */
  readonly companion: ReceiptCompanion | null;
}

/** The bytes of a receipt: the one form that `parseCoseReceipt` takes. */
export function encodeCoseReceipt({ tree, keyId, proof, signature, companion }: CoseReceipt): Uint8Array {
  const { path } = proof;
  const [label, numbers] =
    proof.kind === 'inclusion'
      ? [PROOFS.inclusion, [tree.size, proof.index]]
      : [PROOFS.consistency, [proof.old, tree.size]];
  const proofs: CborMap = new Map([[label, [encodeCbor([...numbers, path])]]]);
  const headers = new Map<number | string, CborMap>([[HEADER.proofs, proofs]]);
  if (companion !== null) headers.set(OURS, new Map(Object.entries(companion)));
  return encodeCbor({ tag: COSE_SIGN1_TAG, value: [treeHeaders(tree, keyId), headers, null, signature] });
}

/**
 * Reads a receipt of one proof, of at most {@link MAX_COSE_RECEIPT_BYTES}. There is one form of a
 * receipt: no header more, in one order, and one size under the signature and in the proof.
 * @throws DecodeError
 */
export function parseCoseReceipt(bytes: Uint8Array): CoseReceipt {
  if (bytes.length > MAX_COSE_RECEIPT_BYTES) throw new DecodeError('range', `receipt of ${bytes.length} bytes`, 0);
  const { protectedHeaders, unprotectedHeaders, signature } = parseDetachedSign1(bytes);
  const claims = field(protectedHeaders, HEADER.claims, asMap);
  const ours = unprotectedHeaders.has(OURS) ? field(unprotectedHeaders, OURS, asMap) : null;
  const receipt: CoseReceipt = {
    tree: {
      origin: field(claims, CLAIM.issuer, asText),
      subject: field(claims, CLAIM.subject, asText),
      size: field(claims, CLAIM.size, asSize),
    },
    keyId: field(protectedHeaders, HEADER.keyId, asBytes),
    proof: proofOf(field(unprotectedHeaders, HEADER.proofs, asMap)),
    signature,
    companion: ours && { known: field(ours, 'known', asBytes), evidence: field(ours, 'evidence', asBytes) },
  };
  // layer: one form of a receipt
  if (!equalBytes(encodeCoseReceipt(receipt), bytes))
    throw new DecodeError('canonical', 'another form of a receipt', 0);
  return receipt;
}

function proofOf(proofs: CborMap): ReceiptProof {
  const isInclusion = proofs.has(PROOFS.inclusion);
  const [encoded] = field(proofs, isInclusion ? PROOFS.inclusion : PROOFS.consistency, asArray);
  const [first, second, hashes] = asArray(decodeCbor(asBytes(encoded, 'a proof')), 'a proof');
  const all = asArray(hashes, 'a path');
  if (all.length > MAX_PATH) throw new DecodeError('range', `path of ${all.length} hashes`, 0);
  const path = all.map((hash) => asBytes(hash, 'a hash of a path'));
  return isInclusion
    ? { kind: 'inclusion', index: asSize(second, 'an index'), path }
    : { kind: 'consistency', old: asSize(first, 'an older size'), path };
}

/**
 * The root that a receipt's proof leads to. **Trust**: no signature was verified.
 * @param known hash of the entry's leaf, or root of the older tree
 * @throws EvidenceError `log` if the proof leads nowhere
 */
export function rootOfReceipt({ tree, proof }: Pick<CoseReceipt, 'tree' | 'proof'>, known: Uint8Array): Sha256 {
  const root =
    proof.kind === 'inclusion'
      ? rootFromPath(known, proof.index, tree.size, proof.path)
      : rootFromConsistency(known, proof.old, tree.size, proof.path);
  if (root !== undefined) return root;
  const from = proof.kind === 'inclusion' ? `leaf ${proof.index}` : `the tree of ${proof.old}`;
  throw new EvidenceError('log', `${proof.path.length} hashes do not lead from ${from} to a tree of ${tree.size}`);
}

/**
 * Verifies a receipt.
 * @param key of the log
 * @param known hash of the entry's leaf, or root of the older tree
 * @returns the root of the tree that the log's key signed
 * @throws EvidenceError `binding` for the receipt of another key, `log` if the proof leads nowhere,
 * `signature`
 */
export async function verifyCoseReceipt(receipt: CoseReceipt, key: Ed25519Text, known: Uint8Array): Promise<Sha256> {
  const { tree, keyId, signature } = receipt;
  const root = rootOfReceipt(receipt, known);
  await verifyUnderKey({ keyId, protectedBytes: treeHeaders(tree, keyId), payload: root, signature }, key);
  return root;
}
