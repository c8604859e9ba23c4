/**
 * Reading a log that stands on a disk: tiles, entries and proofs. What the disk gives is held
 * against the tree, so that no other bytes leave as a part of it.
 */

import { equalBytes } from '../bytes.ts';
import type { Sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { leafHash } from '../merkle.ts';
import { encodeEntries, type Tile } from '../tlog/index.ts';
import type { Block } from './block.ts';
import { ExpandedTile, TILE_HEIGHT } from './expanded-tile.ts';
import type { FullTile, GrowingTree } from './growing-tree.ts';
import { endOf, type Journal } from './journal.ts';
import { TILE_HASHES } from './layout.ts';
import type { LogDisk } from './log-disk.ts';
import { consistencyOf, inclusionOf, MissingTile, type NodeAt, rootOver } from './tree-nodes.ts';

/** Expanded tiles that are kept, of 16 KiB each. */
export const MAX_CACHED_TILES = 256;
/** Bytes that are read at once while entries are looked for. */
const AHEAD_BYTES = 128 * 1024;

/** Where the records begin that a disk still holds. */
export interface HeldFrom {
  readonly minimum: number;
  /** Position of the block that holds the record at `minimum`. */
  readonly start: number;
}

/** A log on a disk, with the tree of its end. */
export class StoredLog {
  readonly #disk: LogDisk;
  readonly #tree: GrowingTree;
  /** Places of tiles that may not be on the disk yet. */
  readonly #places: ReadonlyMap<number, number>;
  readonly #held: () => HeldFrom;
  /** Tiles that led to the tree, the one that was asked for last at the end. */
  readonly #cached = new Map<number, ExpandedTile>();
  readonly #node: NodeAt = (height, index) => this.#nodeAt(height, index);

  constructor(disk: LogDisk, tree: GrowingTree, places: ReadonlyMap<number, number>, held: () => HeldFrom) {
    this.#disk = disk;
    this.#tree = tree;
    this.#places = places;
    this.#held = held;
  }

  /**
   * The root of the tree of the first `size` leaves.
   *
   * @throws RangeError; DecodeError as {@link tile}
   */
  rootAt(size: number): Promise<Sha256> {
    this.#within(size, this.#tree.size);
    return this.#withTiles(() => rootOver(this.#node, 0, size));
  }

  /** The inclusion path of a leaf, from the leaf upwards. @throws as {@link rootAt} */
  inclusion(index: number, size: number): Promise<Sha256[]> {
    this.#within(size, this.#tree.size);
    this.#within(index, size - 1);
    return this.#withTiles(() => inclusionOf(this.#node, index, size));
  }

  /** The proof that one tree is part of a later one. @throws as {@link rootAt} */
  consistency(old: number, size: number): Promise<Sha256[]> {
    this.#within(size, this.#tree.size);
    if (old !== 0) this.#within(old, size);
    return this.#withTiles(() => consistencyOf(this.#node, old, size));
  }

  /**
   * Bytes of a tile of the tree (C2SP tlog-tiles).
   *
   * @throws RangeError for a tile beyond the tree, or of records that are no longer held;
   * DecodeError `canonical` if the disk has another tile
   */
  async tile({ level, index, width }: Tile): Promise<Uint8Array> {
    if (!Number.isSafeInteger(width) || width < 1 || width > TILE_HASHES) throw new RangeError(`a tile of ${width}`);
    if (level === 'entries') return encodeEntries(await this.entries(index * TILE_HASHES, width));
    const span = TILE_HASHES ** level;
    const end = (index * TILE_HASHES + width) * span;
    const { minimum } = this.#held();
    // The edge is held, whatever is forgotten: without it no tile leads to the root.
    const isHeld = end > minimum || this.#tree.tile(level, index) !== undefined;
    if (index < 0 || !Number.isSafeInteger(end) || end > this.#tree.size || !isHeld) {
      throw new RangeError(`tile ${level}/${index} of ${width}, where ${minimum} to ${this.#tree.size} are held`);
    }
    const hashes = await this.#withTiles(() => this.#tile(level, index).hashes(width));
    return hashes.slice();
  }

  /**
   * Bytes of entries, each held against the tree.
   *
   * @throws RangeError beyond what is held; DecodeError if the disk has other entries
   */
  async entries(first: number, count: number): Promise<Uint8Array[]> {
    const { minimum } = this.#held();
    const end = first + count;
    if (!(Number.isSafeInteger(first) && Number.isSafeInteger(end) && count > 0 && first >= minimum)) {
      throw new RangeError(`${count} records from ${first}, where ${minimum} is the first`);
    }
    if (end > this.#tree.size) throw new RangeError(`records up to ${end} of ${this.#tree.size}`);
    const journal = this.#disk.journal(AHEAD_BYTES);
    const entries: Uint8Array[] = [];
    let block = await this.#blockOf(journal, first);
    while (true) {
      for (let i = Math.max(0, first - block.first); i < block.count && entries.length < count; i++)
        entries.push((block.entries[i] ?? new Uint8Array()).slice());
      if (entries.length === count) break;
      block = await journal.next(endOf(block));
    }
    for (const [i, entry] of entries.entries()) await this.#demand(first + i, entry);
    return entries;
  }

  /**
   * Position of the block that holds a record.
   *
   * @throws DecodeError if it is not where the disk says
   */
  async positionOf(index: number): Promise<number> {
    return (await this.#blockOf(this.#disk.journal(AHEAD_BYTES), index)).position;
  }

  /** Keeps tiles that the growing tree lets go of. */
  keep(tiles: Iterable<FullTile>): void {
    for (const { level, index, tile } of tiles) this.#cache(keyOf(level, index), tile);
  }

  /** The block that holds a record: it is looked for from the place of the record's tile on. */
  async #blockOf(journal: Journal, index: number): Promise<Block> {
    const tile = Math.floor(index / TILE_HASHES);
    // The oldest tile may begin in a block that is no longer there.
    const place = Math.max(this.#held().start, this.#places.get(tile) ?? (await this.#disk.place(tile)));
    return await journal.blockOf(index, place);
  }

  async #demand(index: number, entry: Uint8Array): Promise<void> {
    const known = await this.#withTiles(() => this.#node(0, index));
    // layer: records are held against the tree
    if (!equalBytes(known, leafHash(entry)))
      throw new DecodeError('canonical', `record ${index} on the disk is not the one of the tree`, index);
  }

  #within(number: number, most: number): void {
    const { minimum } = this.#held();
    if (!Number.isSafeInteger(number) || number < minimum || number > most)
      throw new RangeError(`${number} is not within ${minimum} to ${most}`);
  }

  /** The result of `make` once the tiles are there that it misses. */
  async #withTiles<T>(make: () => T): Promise<T> {
    while (true) {
      try {
        return make();
      } catch (missing) {
        if (!(missing instanceof MissingTile)) throw missing;
        await this.#load(missing.level, missing.index);
      }
    }
  }

  #nodeAt(height: number, index: number): Uint8Array {
    const level = Math.floor(height / TILE_HEIGHT);
    const inTile = height % TILE_HEIGHT;
    const width = 2 ** (TILE_HEIGHT - inTile);
    return this.#tile(level, Math.floor(index / width)).node(inTile, index % width);
  }

  /** @throws {@link MissingTile} */
  #tile(level: number, index: number): ExpandedTile {
    const growing = this.#tree.tile(level, index);
    if (growing !== undefined) return growing;
    const key = keyOf(level, index);
    const cached = this.#cached.get(key);
    if (cached === undefined) throw new MissingTile(level, index);
    this.#cached.delete(key);
    this.#cached.set(key, cached);
    return cached;
  }

  /**
   * Reads a full tile. It is kept only if its root is the hash that the level above has for it,
   * which was read in the same way, up to the edge.
   */
  async #load(level: number, index: number): Promise<void> {
    const tile = ExpandedTile.of(await this.#disk.tile(level, index, TILE_HASHES));
    const known = await this.#withTiles(() => this.#node((level + 1) * TILE_HEIGHT, index));
    // layer: tiles are held against the tree
    if (!equalBytes(known, tile.root()))
      throw new DecodeError('canonical', `tile ${level}/${index} on the disk is not the one of the tree`, index);
    this.#cache(keyOf(level, index), tile);
  }

  #cache(key: number, tile: ExpandedTile): void {
    this.#cached.set(key, tile);
    if (this.#cached.size <= MAX_CACHED_TILES) return;
    const [oldest] = this.#cached.keys();
    if (oldest !== undefined) this.#cached.delete(oldest);
  }
}

/** One number for a tile. */
function keyOf(level: number, index: number): number {
  return index * TILE_HEIGHT + level;
}
