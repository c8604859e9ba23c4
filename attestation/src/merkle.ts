/** Merkle trees of RFC 6962 section 2.1 over SHA-256. */

import { equalBytes } from './bytes.ts';
import { type Sha256, sha256, sha256Joined } from './digest.ts';

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);
const HASH_BYTES = 32;
/**
 * Space in which an inner node is put together to be hashed.
 *
 * **Cost**: a call has some five nodes, in the trees of records and receipts.
 */
const node = Uint8Array.of(1, ...new Uint8Array(2 * HASH_BYTES));

/** The hash of a leaf's data. */
export function leafHash(data: Uint8Array): Sha256 {
  return sha256Joined([LEAF, data]);
}

/** The hash of an inner node. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Sha256 {
  if (left.length !== HASH_BYTES || right.length !== HASH_BYTES) return sha256Joined([NODE, left, right]);
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return sha256(node);
}

/**
 * A tree over leaf hashes, hashed once. The definition's recursion equals the pairing of
 * neighbours, level by level; a last node without a neighbour moves up as it is.
 */
export class MerkleTree {
  readonly #levels: (readonly Uint8Array[])[];

  constructor(leaves: readonly Uint8Array[]) {
    this.#levels = [leaves];
    for (let level = leaves; level.length > 1; this.#levels.push(level)) level = paired(level);
  }

  /** The root. An empty tree's is the hash of nothing. */
  get root(): Sha256 {
    return (this.#levels.at(-1)?.[0] as Sha256 | undefined) ?? sha256(new Uint8Array());
  }

  /** The inclusion path of leaf `index`, from the leaf upwards. */
  path(index: number): Sha256[] {
    const path: Sha256[] = [];
    let at = index;
    for (const level of this.#levels) {
      const sibling = level[at ^ 1] as Sha256 | undefined;
      if (sibling !== undefined) path.push(sibling);
      at = Math.floor(at / 2);
    }
    return path;
  }
}

/** The level above. */
function paired(level: readonly Uint8Array[]): Uint8Array[] {
  const above: Uint8Array[] = [];
  for (let at = 0; at < level.length; at += 2) {
    const [left, right] = [level[at] as Uint8Array, level[at + 1]];
    above.push(right === undefined ? left : nodeHash(left, right));
  }
  return above;
}

/** The root over leaf hashes. An empty tree's root is the hash of nothing. */
export function merkleRoot(leaves: readonly Uint8Array[]): Sha256 {
  return new MerkleTree(leaves).root;
}

/**
 * The inclusion path of leaf `index`, from the leaf upwards. For several paths of one tree, make a
 * {@link MerkleTree}.
 */
export function inclusionPath(leaves: readonly Uint8Array[], index: number): Sha256[] {
  return new MerkleTree(leaves).path(index);
}

/**
 * The root that an inclusion path leads to, or undefined if its length is not the one that this
 * index and size have (RFC 9162 section 2.1.3.2).
 */
export function rootFromPath(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Sha256 | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return undefined;
  if (leaf.length !== 32) return undefined;
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

/**
 * Whether [start, end) is a subtree of every tree that holds it. It is if its start is a multiple
 * of its size, rounded up to a power of two.
 */
export function isSubtree(start: number, end: number): boolean {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end <= start) return false;
  return end - start === 1 || start % (2 * splitPoint(end - start)) === 0;
}

/**
 * The proof that the tree of the first `end` leaves, or any subtree [start, end), is part of the
 * tree of all leaves (RFC 6962 section 2.1.2; for subtrees, draft-ietf-plants-merkle-tree-certs).
 */
export function consistencyPath(leaves: readonly Uint8Array[], end: number, start = 0): Sha256[] {
  return subproof(leaves, start, end, true);
}

function subproof(leaves: readonly Uint8Array[], start: number, end: number, known: boolean): Sha256[] {
  if (start === 0 && end === leaves.length) return known ? [] : [merkleRoot(leaves)];
  const split = splitPoint(leaves.length);
  const [left, right] = [leaves.slice(0, split), leaves.slice(split)];
  if (end <= split) return [...subproof(left, start, end, known), merkleRoot(right)];
  if (start >= split) return [...subproof(right, start - split, end - split, known), merkleRoot(left)];
  return [...subproof(right, 0, end - split, false), merkleRoot(left)];
}

/**
 * The root of the tree of `size` leaves that a consistency proof leads to from the subtree [start,
 * end) with root `known`. It is undefined if the proof does not lead back to `known`, or its length
 * is not the one these sizes have.
 */
export function rootFromConsistency(
  known: Uint8Array,
  end: number,
  size: number,
  path: readonly Uint8Array[],
  start = 0,
): Sha256 | undefined {
  if (!isSubtree(start, end) || !Number.isSafeInteger(size) || end > size || known.length !== 32) return undefined;
  if (path.some(({ length }) => length !== 32)) return undefined;
  let [first, last, top] = [start, end - 1, size - 1];
  const up = (): void => {
    [first, last, top] = [Math.floor(first / 2), Math.floor(last / 2), Math.floor(top / 2)];
  };
  const whole = last === top;
  while (first !== last && (whole || last % 2 === 1)) up();
  const hashes = first === last ? [known, ...path] : path;
  const [seed, ...rest] = hashes;
  if (seed === undefined) return undefined;
  let [old, root] = [seed as Sha256, seed as Sha256];
  for (const sibling of rest) {
    if (top === 0) return undefined;
    if (last % 2 === 1 || last === top) {
      if (first < last) old = nodeHash(sibling, old);
      root = nodeHash(sibling, root);
      while (last % 2 === 0 && last !== 0) up();
    } else {
      root = nodeHash(root, sibling);
    }
    up();
  }
  return top === 0 && equalBytes(old, known) ? root : undefined;
}

/** The largest power of two below `size`, for size ≥ 2: a tree of that size divides there. */
export function splitPoint(size: number): number {
  let split = 1;
  while (split * 2 < size) split *= 2;
  return split;
}
