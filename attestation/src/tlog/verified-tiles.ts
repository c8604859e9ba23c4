/** Tiles that are believed: each led up to the root of one checkpoint before it is handed out. */

import { equalBytes, toHex } from '../bytes.ts';
import type { Sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import { merkleRoot } from '../merkle.ts';
import { type ReadTile, TILE_WIDTH, type Tile, TileTree, tilePath } from './tile.ts';

/** Tiles that are kept, of at most 8 KiB each. */
export const MAX_VERIFIED_TILES = 1024;
const HASH_LENGTH = 32;

/** A tile of hashes. */
export type HashTile = Tile & { readonly level: number };

/**
 * The tiles of the tree of `size` leaves that has this root. A full tile is held against its hash
 * in the tile above it, and so on up to the last tile of a level; the last ones together make the
 * root.
 */
export class VerifiedTiles {
  readonly #size: number;
  readonly #root: Uint8Array;
  readonly #read: ReadTile;
  /** By path, the one that was asked for last at the end. */
  readonly #known = new Map<string, Promise<Uint8Array>>();
  /** Tiles that are not full, by path. */
  readonly #edgeTiles = new Map<string, Uint8Array>();
  #edge: Promise<void> | undefined;

  /** @param read gives bytes of a tile that is not believed yet */
  constructor({ size, root }: { readonly size: number; readonly root: Uint8Array }, read: ReadTile) {
    this.#size = size;
    this.#root = root;
    this.#read = read;
  }

  /**
   * The widest tile at a place that this tree has.
   *
   * @throws RangeError beyond the tree
   */
  at(level: number, index: number): HashTile {
    const width = Math.min(TILE_WIDTH, Math.floor(this.#size / TILE_WIDTH ** level) - index * TILE_WIDTH);
    if (!(width >= 1)) throw new RangeError(`no tile ${level}/${index} in a tree of ${this.#size}`);
    return { level, index, width };
  }

  /**
   * Hashes of the widest tile at a place.
   *
   * @throws RangeError beyond the tree; EvidenceError `log` if it does not lead to the root
   */
  tile(level: number, index: number): Promise<Uint8Array> {
    const tile = this.at(level, index);
    const path = tilePath(tile);
    const known = this.#known.get(path);
    this.#known.delete(path);
    const hashes = known ?? this.#verified(tile);
    // What could not be read may be there the next time.
    hashes.catch(() => this.#known.delete(path));
    this.#known.set(path, hashes);
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_VERIFIED_TILES && oldest !== undefined) this.#known.delete(oldest);
    return hashes;
  }

  /** The root of the first `size` leaves of this tree. @throws EvidenceError `log` */
  async rootAt(size: number): Promise<Sha256> {
    return (await this.#tree()).root(0, size);
  }

  /** The hash of a leaf. @throws RangeError beyond the tree; EvidenceError `log` */
  async leaf(index: number): Promise<Uint8Array> {
    const hashes = await this.tile(0, Math.floor(index / TILE_WIDTH));
    const at = (index % TILE_WIDTH) * HASH_LENGTH;
    return hashes.slice(at, at + HASH_LENGTH);
  }

  /**
   * The inclusion path of a leaf in the tree of the first `size` leaves, by default all of them,
   * from the leaf upwards. @throws EvidenceError `log`
   */
  async inclusion(index: number, size: number = this.#size): Promise<Sha256[]> {
    return (await this.#treeOf(size)).inclusion(index);
  }

  /**
   * The proof that the tree of the first `size` leaves, by default all of them, continues its first
   * `old` leaves. @throws EvidenceError `log`
   */
  async consistency(old: number, size: number = this.#size): Promise<Sha256[]> {
    return (await this.#treeOf(size)).consistency(old);
  }

  /** The tree of the first leaves, over tiles that are believed. */
  async #treeOf(size: number): Promise<TileTree> {
    await this.#edgeVerified();
    return new TileTree(size, async ({ level, index, width }) => {
      const hashes = await this.tile(Number(level), index);
      return hashes.subarray(0, width * HASH_LENGTH);
    });
  }

  /** The tree over tiles that are believed. */
  async #tree(): Promise<TileTree> {
    await this.#edgeVerified();
    return new TileTree(this.#size, ({ level, index }) => this.tile(Number(level), index));
  }

  async #verified(tile: HashTile): Promise<Uint8Array> {
    if (tile.width < TILE_WIDTH) {
      await this.#edgeVerified();
      // The edge was read under the same path.
      return this.#edgeTiles.get(tilePath(tile)) ?? this.#refuse(tile, 'no part of the edge');
    }
    const hashes = await this.#whole(tile);
    const root = merkleRoot(hashesOf(hashes));
    const known = await this.#hashOf(tile);
    if (!equalBytes(root, known)) this.#refuse(tile, `root ${toHex(root)}, where the tree has ${toHex(known)}`);
    return hashes;
  }

  /** The hash of a full tile in the level above. */
  async #hashOf({ level, index }: HashTile): Promise<Uint8Array> {
    const above = await this.tile(level + 1, Math.floor(index / TILE_WIDTH));
    const at = (index % TILE_WIDTH) * HASH_LENGTH;
    return above.subarray(at, at + HASH_LENGTH);
  }

  /** Reads the last tile of each level that is not full, and holds them against the root. */
  #edgeVerified(): Promise<void> {
    this.#edge ??= this.#verifyEdge().catch((error: unknown) => {
      this.#edge = undefined;
      throw error;
    });
    return this.#edge;
  }

  async #verifyEdge(): Promise<void> {
    const tree = new TileTree(this.#size, async (tile) => {
      const hashes = await this.#whole(tile as HashTile);
      this.#edgeTiles.set(tilePath(tile), hashes);
      return hashes;
    });
    const root = await tree.root();
    if (!equalBytes(root, this.#root))
      throw new EvidenceError('log', `tiles lead to ${toHex(root)}, the checkpoint's root is ${toHex(this.#root)}`);
  }

  /** Bytes of a tile of the right length. */
  async #whole(tile: HashTile): Promise<Uint8Array> {
    const hashes = await this.#read(tile);
    if (hashes.length !== tile.width * HASH_LENGTH) this.#refuse(tile, `${hashes.length} bytes`);
    return hashes;
  }

  #refuse(tile: HashTile, why: string): never {
    throw new EvidenceError('log', `${tilePath(tile)}: ${why}`);
  }
}

/** The hashes of a tile, one by one. */
export function hashesOf(tile: Uint8Array): Uint8Array[] {
  return Array.from({ length: tile.length / HASH_LENGTH }, (_, i) =>
    tile.subarray(i * HASH_LENGTH, (i + 1) * HASH_LENGTH),
  );
}
