/** Merkle trees of RFC 6962 section 2.1 over SHA-256. */

import { concat } from './bytes.ts';
import { type Sha256, sha256 } from './digest.ts';

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** The hash of a leaf's data. */
export function leafHash(data: Uint8Array): Sha256 {
  return sha256(concat(LEAF, data));
}

/** The hash of an inner node. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Sha256 {
  return sha256(concat(NODE, left, right));
}

/** The root over leaf hashes. An empty tree's root is the hash of nothing. */
export function merkleRoot(leaves: readonly Uint8Array[]): Sha256 {
  const [only] = leaves;
  if (only === undefined) return sha256(new Uint8Array());
  if (leaves.length === 1) return only as Sha256;
  const split = splitPoint(leaves.length);
  return nodeHash(merkleRoot(leaves.slice(0, split)), merkleRoot(leaves.slice(split)));
}

/** The inclusion path of leaf `index`, from the leaf upwards. */
export function inclusionPath(leaves: readonly Uint8Array[], index: number): Sha256[] {
  if (leaves.length <= 1) return [];
  const split = splitPoint(leaves.length);
  const [own, other] = [leaves.slice(0, split), leaves.slice(split)];
  return index < split
    ? [...inclusionPath(own, index), merkleRoot(other)]
    : [...inclusionPath(other, index - split), merkleRoot(own)];
}

/**
 * The root that an inclusion path leads to, or undefined where its length is not the one that this index and
 * size have (RFC 9162 section 2.1.3.2).
 */
export function rootFromPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Sha256 | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return undefined;
  let node = index;
  let last = size - 1;
  let root = leaf as Sha256;
  for (const sibling of path) {
    if (last === 0 || sibling.length !== 32) return undefined;
    if (node % 2 === 1 || node === last) {
      root = nodeHash(sibling, root);
      while (node % 2 === 0 && node !== 0) {
        node = Math.floor(node / 2);
        last = Math.floor(last / 2);
      }
    } else {
      root = nodeHash(root, sibling);
    }
    node = Math.floor(node / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? root : undefined;
}

/** The largest power of two below `size`, for size ≥ 2. */
function splitPoint(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
