/**
 * The signature of a log's key that COSE receipts carry (RFC 9942): over a tree's root, with the
 * log, the kind of its entries and the tree's size under protected headers.
 */

import { encodeCbor, signedBytes } from '../cbor/index.ts';
import { type Sha256, sha256 } from '../digest.ts';
import { type Ed25519Text, ed25519Spki } from '../statement.ts';

/** EdDSA (RFC 9053), with Ed25519 here. */
export const ALGORITHM_EDDSA = -8;

/** Labels of COSE headers (RFC 9052, 9597, 9942). */
export const HEADER = {
  algorithm: 1,
  contentType: 3,
  keyId: 4,
  claims: 15,
  receipts: 394,
  structure: 395,
  proofs: 396,
};
/** Labels of claims (RFC 8392), and one of ours. */
export const CLAIM = { issuer: 1, subject: 2, size: 'size' } as const;
/** RFC9162_SHA256, a tree as RFC 6962 has it. */
const STRUCTURE_RFC9162_SHA256 = 1;

/** A tree, as its log's key signs it. */
export interface NamedTree {
  /** Name of the log: the issuer. */
  readonly origin: string;
  /** The receipt's subject: the label of the entries, or the one release. */
  readonly subject: string;
  /** Number of leaves. */
  readonly size: number;
}

/** COSE key thumbprint of an Ed25519 key (RFC 9679), by which receipts and statements name it. */
export function keyThumbprint(key: Ed25519Text): Sha256 {
  return sha256(
    encodeCbor(
      new Map<number, number | Uint8Array>([
        [1, 1],
        [-1, 6],
        [-2, ed25519Spki(key).subarray(-32)],
      ]),
    ),
  );
}

/**
 * Protected headers of a receipt.
 *
 * The size is among them. Without it, the holder of a receipt could state other sizes and indices
 * by which the same hashes lead to the same root.
 */
export function treeHeaders({ origin, subject, size }: NamedTree, keyId: Uint8Array): Uint8Array {
  const claims = new Map<number | string, number | string>([
    [CLAIM.issuer, origin],
    [CLAIM.subject, subject],
    [CLAIM.size, size],
  ]);
  return encodeCbor(
    new Map<number, number | Uint8Array | typeof claims>([
      [HEADER.algorithm, ALGORITHM_EDDSA],
      [HEADER.keyId, keyId],
      [HEADER.claims, claims],
      [HEADER.structure, STRUCTURE_RFC9162_SHA256],
    ]),
  );
}

/**
 * The bytes that a log's key signs of a tree, a Sig_structure.
 *
 * **Trust**: the same key signs the texts of checkpoints. No text is such a structure: that begins
 * with the byte 0x84, and no text in UTF-8 does.
 */
export function treeMessage(tree: NamedTree, root: Uint8Array, key: Ed25519Text): Uint8Array {
  return signedBytes(treeHeaders(tree, keyThumbprint(key)), root);
}
