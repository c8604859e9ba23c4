/**
 * Roots and proofs of an RFC 6962 tree, made of the roots of its complete subtrees. They are found
 * without waiting, because most are in memory.
 */

import type { Sha256 } from '../digest.ts';
import { merkleRoot, nodeHash, splitPoint } from '../merkle.ts';

/**
 * The root of the complete subtree over the 2^height leaves from `index`·2^height on.
 *
 * @throws {@link MissingTile} if it has to be read first
 */
export type NodeAt = (height: number, index: number) => Uint8Array;

/** A tile that has to be read before a node can be had. */
export class MissingTile extends Error {
  override readonly name = 'MissingTile';
  readonly level: number;
  readonly index: number;

  constructor(level: number, index: number) {
    super(`tile ${level}/${index}`);
    this.level = level;
    this.index = index;
  }
}

/** The root over the leaves [start, end). Their number is at most the lowest bit of `start`. */
export function rootOver(node: NodeAt, start: number, end: number): Sha256 {
  const subtrees: Uint8Array[] = [];
  for (let at = start; at < end; ) {
    let height = 0;
    let span = 1;
    while (at % (span * 2) === 0 && at + span * 2 <= end) {
      height++;
      span *= 2;
    }
    subtrees.push(node(height, at / span));
    at += span;
  }
  return treeRoot(subtrees);
}

/** The root of a tree of these complete subtrees, largest first. */
export function treeRoot(frontier: readonly Uint8Array[]): Sha256 {
  if (frontier.length === 0) return merkleRoot([]);
  return frontier.reduceRight((right, left) => nodeHash(left, right)) as Sha256;
}

/** The inclusion path of leaf `index` in the tree of `size` leaves, from the leaf upwards. */
export function inclusionOf(node: NodeAt, index: number, size: number): Sha256[] {
  const path: Sha256[] = [];
  let at = index;
  for (let height = 0, span = 1; span < size; height++, span *= 2) {
    const sibling = at % 2 === 0 ? at + 1 : at - 1;
    const [start, end] = [sibling * span, (sibling + 1) * span];
    if (end <= size) path.push(node(height, sibling) as Sha256);
    else if (start < size) path.push(rootOver(node, start, size));
    at = Math.floor(at / 2);
  }
  return path;
}

/** The proof that the tree of the first `old` leaves is part of that of `size` leaves. */
export function consistencyOf(node: NodeAt, old: number, size: number): Sha256[] {
  if (old === 0) return [];
  const path: Sha256[] = [];
  let [start, end, known] = [0, size, true];
  while (old !== end) {
    const split = start + splitPoint(end - start);
    if (old <= split) {
      path.push(rootOver(node, split, end));
      end = split;
    } else {
      path.push(rootOver(node, start, split));
      [start, known] = [split, false];
    }
  }
  if (!known) path.push(rootOver(node, start, end));
  return path.reverse();
}
