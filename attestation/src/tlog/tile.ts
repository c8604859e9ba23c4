/**
 * Tiles of a log (C2SP tlog-tiles): their paths, their bytes, and proofs made of them. Tiles are
 * eight levels high.
 */

import { Reader } from '../bytes.ts';
import type { Sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { isSubtree, merkleRoot, nodeHash, splitPoint } from '../merkle.ts';
import { parseSize } from './checkpoint.ts';

/** Hashes in a full tile, and entries in a full bundle. */
export const TILE_WIDTH = 256;
const TILE_HEIGHT = 8;
/** The highest level of a path (C2SP tlog-tiles): no tree is higher, as sizes have 64 bits. */
const MAX_LEVEL = 63;
const HASH_LENGTH = 32;
const MAX_BUNDLE = 1 << 24;

/**
 * Name of a tile: hashes at a level, or the bundle of the entries themselves. A tile that is not
 * full has its width in its name.
 */
export interface Tile {
  readonly level: number | 'entries';
  readonly index: number;
  /** 1 to 256. */
  readonly width: number;
}

/** `tile/0/x001/x234/067`, `tile/entries/000.p/5`. */
export function tilePath({ level, index, width }: Tile): string {
  const groups = [String(index % 1000).padStart(3, '0')];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, '0')}`);
  }
  return `tile/${level}/${groups.join('/')}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** Reads a path as `tilePath` writes it. @throws DecodeError `syntax`, `range` */
export function parseTilePath(path: string): Tile {
  const match = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path);
  if (match === null) throw new DecodeError('syntax', 'not a tile path', 0);
  const [, levelText = '', groups = '', widthText] = match;
  const level: Tile['level'] = levelText === 'entries' ? 'entries' : parseSize(levelText);
  const index = parseSize(groups.replaceAll(/[x/]/g, '').replace(/^0+(?=\d)/, ''));
  const width = widthText === undefined ? TILE_WIDTH : parseSize(widthText);
  const tile: Tile = { level, index, width };
  // One path for one tile: no leading groups of zeros, no partial tile that is full or empty.
  const high = level !== 'entries' && level > MAX_LEVEL;
  if (high || width === 0 || width > TILE_WIDTH || tilePath(tile) !== path)
    throw new DecodeError('range', 'not a tile', 0);
  return tile;
}

/** The bundle that holds the entry at `index` in a log of `size` entries. */
export function entryBundle(index: number, size: number): Tile {
  return tileAt('entries', Math.floor(index / TILE_WIDTH), size);
}

/** Every tile of hashes in a log of `size` entries, lowest level first. */
export function tilesOf(size: number): Tile[] {
  const tiles: Tile[] = [];
  for (let level = 0, count = size; count > 0; level++, count = Math.floor(count / TILE_WIDTH)) {
    for (let index = 0; index * TILE_WIDTH < count; index++) tiles.push(tileAt(level, index, count));
  }
  return tiles;
}

/** The bytes of a tile of the tree over these leaf hashes. */
export function tileBytes(leaves: readonly Uint8Array[], { level, index, width }: Tile): Uint8Array {
  const span = level === 'entries' ? 1 : TILE_WIDTH ** level;
  const out = new Uint8Array(width * HASH_LENGTH);
  for (let i = 0; i < width; i++) {
    const start = (index * TILE_WIDTH + i) * span;
    out.set(merkleRoot(leaves.slice(start, start + span)), i * HASH_LENGTH);
  }
  return out;
}

/**
 * Entries, each with its length before it in two bytes, big-endian.
 * @throws DecodeError `range` for an entry above 65535 bytes.
 */
export function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(entries.reduce((length, entry) => length + 2 + entry.length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const entry of entries) {
    if (entry.length > 0xffff) throw new DecodeError('range', `entry of ${entry.length} bytes`, at);
    view.setUint16(at, entry.length);
    out.set(entry, at + 2);
    at += 2 + entry.length;
  }
  return out;
}

/** Reads a bundle of at most 256 entries. @throws DecodeError `truncated`, `range` */
export function parseEntries(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length > MAX_BUNDLE + 2 * TILE_WIDTH) throw new DecodeError('range', `bundle of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  const entries: Uint8Array[] = [];
  while (reader.left > 0) {
    if (entries.length === TILE_WIDTH) throw new DecodeError('range', `more than ${TILE_WIDTH} entries`, reader.at);
    entries.push(reader.take(reader.u16be()));
  }
  return entries;
}

/**
 * Fetches a tile's bytes.
 *
 * **Trust**: they are believed only as far as a checkpoint's root confirms them.
 */
export type ReadTile = (tile: Tile) => Promise<Uint8Array>;

/** The tree of a log of `size` entries, read tile by tile, each at most once. */
export class TileTree {
  readonly size: number;
  readonly #read: ReadTile;
  readonly #tiles: Map<string, Promise<Uint8Array>> = new Map();

  constructor(size: number, read: ReadTile) {
    this.size = size;
    this.#read = read;
  }

  /**
   * Root over the leaves [start, end); without arguments, of the whole tree.
   * @throws DecodeError `range` for a tile of another length.
   */
  async root(start = 0, end: number = this.size): Promise<Sha256> {
    const count = end - start;
    if (count === 0) return merkleRoot([]);
    if (isPowerOfTwo(count) && isSubtree(start, end)) return this.#complete(start, count);
    const split = start + splitPoint(count);
    return nodeHash(await this.root(start, split), await this.root(split, end));
  }

  /** The inclusion path of the leaf at `index`, from the leaf upwards. */
  async inclusion(index: number, start = 0, end: number = this.size): Promise<Sha256[]> {
    if (end - start <= 1) return [];
    const split = start + splitPoint(end - start);
    return index < split
      ? [...(await this.inclusion(index, start, split)), await this.root(split, end)]
      : [...(await this.inclusion(index, split, end)), await this.root(start, split)];
  }

  /** The proof that the tree of the first `old` leaves is part of this one. */
  async consistency(old: number, start = 0, end: number = this.size, known = true): Promise<Sha256[]> {
    if (old === end) return known ? [] : [await this.root(start, end)];
    const split = start + splitPoint(end - start);
    return old <= split
      ? [...(await this.consistency(old, start, split, known)), await this.root(split, end)]
      : [...(await this.consistency(old, split, end, false)), await this.root(start, split)];
  }

  /** The root of a complete, aligned subtree: one hash of a tile, or a few joined. */
  async #complete(start: number, count: number): Promise<Sha256> {
    const level = Math.floor(Math.log2(count) / TILE_HEIGHT);
    const span = TILE_WIDTH ** level;
    const first = start / span;
    const tile = tileAt(level, Math.floor(first / TILE_WIDTH), Math.floor(this.size / span));
    const bytes = await this.#tile(tile);
    const from = first % TILE_WIDTH;
    const hashes = Array.from({ length: count / span }, (_, i) => (from + i) * HASH_LENGTH);
    return merkleRoot(hashes.map((at) => bytes.subarray(at, at + HASH_LENGTH)));
  }

  #tile(tile: Tile): Promise<Uint8Array> {
    const path = tilePath(tile);
    const known = this.#tiles.get(path);
    if (known !== undefined) return known;
    const bytes = this.#read(tile).then((read) => {
      if (read.length === tile.width * HASH_LENGTH) return read;
      throw new DecodeError('range', `${path} has ${read.length} bytes, expected ${tile.width * HASH_LENGTH}`, 0);
    });
    this.#tiles.set(path, bytes);
    return bytes;
  }
}

/** The tile at `index` of a level that has `count` hashes. */
function tileAt(level: Tile['level'], index: number, count: number): Tile {
  return { level, index, width: Math.min(TILE_WIDTH, count - index * TILE_WIDTH) };
}

function isPowerOfTwo(count: number): boolean {
  return count === 1 || 2 * splitPoint(count) === count;
}
