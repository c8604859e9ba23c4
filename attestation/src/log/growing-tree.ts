/**
 * A growing tree: every node that a new leaf completes, kept until its tile stands on the disk.
 */

import { equalBytes } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { nodeHash } from '../merkle.ts';
import { ExpandedTile, TILE_HEIGHT } from './expanded-tile.ts';
import { hashesAt, TILE_HASHES, TILE_LEVELS } from './layout.ts';

/** Heights of the subtrees that a tree of `size` leaves consists of, largest first. */
export function frontierHeights(size: number): number[] {
  const heights: number[] = [];
  for (let rest = size, height = 0; rest > 0; rest = Math.floor(rest / 2), height++)
    if (rest % 2 === 1) heights.push(height);
  return heights.reverse();
}

/** A tile that will not change any more. */
export interface FullTile {
  readonly level: number;
  readonly index: number;
  readonly tile: ExpandedTile;
}

/** The tree of a log at its growing end. */
export class GrowingTree {
  /** By level, the tiles that are not full and those that are not on the disk yet, by index. */
  readonly #tiles: readonly Map<number, ExpandedTile>[] = Array.from({ length: TILE_LEVELS }, () => new Map());
  #size: number;
  /** The last frontier that was asked for. */
  #edge: { readonly heights: readonly number[]; readonly hashes: readonly Uint8Array[] } = { heights: [], hashes: [] };

  /**
   * @param edge the last tile of each level in a tree of `size` leaves, if it is not empty
   */
  constructor(size = 0, edge: readonly (ExpandedTile | undefined)[] = []) {
    this.#size = size;
    edge.forEach((tile, level) => {
      if (tile !== undefined) this.#tiles[level]?.set(Math.floor(hashesAt(level, size) / TILE_HASHES), tile);
    });
  }

  /**
   * The tree of a frontier and of the tiles at its edge, which is refused if one does not lead to
   * the other.
   *
   * @throws DecodeError `canonical`
   */
  static at(size: number, edge: readonly (ExpandedTile | undefined)[], frontier: readonly Uint8Array[]): GrowingTree {
    const tree = new GrowingTree(size, edge);
    tree.frontier().forEach((hash, i) => {
      if (!equalBytes(hash, frontier[i] ?? new Uint8Array())) {
        throw new DecodeError('canonical', `a tile of the tree of ${size} records is another`, i);
      }
    });
    return tree;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds the hash of a leaf. */
  append(leaf: Uint8Array): void {
    let node = leaf;
    let at = this.#size++;
    for (let height = 0; ; height++) {
      this.#set(height, at, node);
      if (at % 2 === 0) return;
      node = nodeHash(this.node(height, at - 1) ?? node, node);
      at = (at - 1) / 2;
    }
  }

  /** The root of a complete subtree (as `NodeAt`), if its tile is held here. */
  node(height: number, index: number): Uint8Array | undefined {
    const level = Math.floor(height / TILE_HEIGHT);
    const inTile = height % TILE_HEIGHT;
    const width = 2 ** (TILE_HEIGHT - inTile);
    const tile = this.tile(level, Math.floor(index / width));
    return tile?.node(inTile, index % width);
  }

  /** A tile, if it is held here. */
  tile(level: number, index: number): ExpandedTile | undefined {
    return this.#tiles[level]?.get(index);
  }

  /**
   * Roots of the complete subtrees that the tree consists of, largest first. They are not to be
   * written to.
   *
   * **Cost**: a tree grows at its small subtrees, and the large ones stay what they were.
   */
  frontier(): readonly Uint8Array[] {
    const heights = frontierHeights(this.#size);
    let same = 0;
    while (same < heights.length && heights[same] === this.#edge.heights[same]) same++;
    const hashes = this.#edge.hashes.slice(0, same);
    for (const height of heights.slice(same)) {
      const node = this.node(height, Math.floor(this.#size / 2 ** height) - 1);
      if (node === undefined) throw new DecodeError('truncated', `no node of height ${height} at the edge`, 0);
      hashes.push(node.slice());
    }
    this.#edge = { heights, hashes };
    return hashes;
  }

  /** Tiles that are full, lowest level first. */
  full(): FullTile[] {
    return this.#tiles.flatMap((tiles, level) => {
      const full = Math.floor(hashesAt(level, this.#size) / TILE_HASHES);
      return [...tiles].filter(([index]) => index < full).map(([index, tile]) => ({ level, index, tile }));
    });
  }

  /** Lets go of a full tile that is on the disk. */
  release(level: number, index: number): void {
    this.#tiles[level]?.delete(index);
  }

  /** Lets go of all full tiles, because they are on the disk. Returns them. */
  settle(): FullTile[] {
    const full = this.full();
    for (const { level, index } of full) this.release(level, index);
    return full;
  }

  #set(height: number, index: number, hash: Uint8Array): void {
    const level = Math.floor(height / TILE_HEIGHT);
    const inTile = height % TILE_HEIGHT;
    const width = 2 ** (TILE_HEIGHT - inTile);
    const at = Math.floor(index / width);
    let tile = this.tile(level, at);
    if (tile === undefined) {
      tile = new ExpandedTile();
      this.#tiles[level]?.set(at, tile);
    }
    tile.set(inTile, index % width, hash);
  }
}
