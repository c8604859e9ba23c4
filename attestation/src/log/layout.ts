/**
 * Layout of a log's disk (docs/reference/formats.md, "Disk of the log"): what stands where follows
 * from the disk's size alone, so that nothing has to be found.
 */

import { DecodeError } from '../errors.ts';

/** Smallest disk of a log, in bytes. */
export const MIN_LOG_BYTES: number = 256 * 1024;
/** Largest disk of a log, in bytes. */
export const MAX_LOG_BYTES: number = 2 ** 46;

/** Bytes to which blocks of the journal are aligned: the sector, which a disk writes whole. */
export const SECTOR_BYTES = 512;
/** Bytes between the two superblocks: they lie in two sectors also where a sector has 4 KiB. */
export const SUPERBLOCK_SPACING_BYTES = 4096;
/** Hashes in a tile. */
export const TILE_HASHES = 256;
/** Bytes of a hash. */
export const HASH_BYTES = 32;
/** Bytes of a tile. */
export const TILE_BYTES: number = TILE_HASHES * HASH_BYTES;
/** Bytes of a place: the journal position of the block with a tile's first record. */
export const PLACE_BYTES = 8;

/** Levels of tiles: a tree of 2⁵⁶ leaves has seven. */
export const TILE_LEVELS = 7;
/**
 * Share of the disk that the hashes of records have, as a divisor. A record has more than eleven
 * times the bytes of its hash, so that the journal is full first.
 */
const HASH_SHARE = 12;
/** Largest block of the journal, in bytes; a quarter of a small journal. */
export const MAX_BLOCK_BYTES: number = 1024 * 1024;
const BLOCK_SHARE = 4;

/** Largest place of a kept quote, in bytes; a 32nd of a small disk. Two take turns. */
const MAX_QUOTE_PLACE_BYTES = 512 * 1024;
const QUOTE_SHARE = 32;

/**
 * Share of what a disk has beyond the smallest one that each of the two slots of sealed state has,
 * as a divisor.
 */
const SLOT_SHARE = 8;
/** Bytes to which slots are long: a sector of disks that have large ones. */
const SLOT_STEP_BYTES = 4096;

/** A ring of tiles of one level: tile N lies in slot N modulo their number. */
export interface TileRing {
  /** Offset of slot 0. */
  readonly base: number;
  readonly tiles: number;
}

/** A disk's parts. */
export interface LogLayout {
  /** Bytes of the disk. */
  readonly capacity: number;
  /** Rings by level, from the hashes of records upwards. */
  readonly levels: readonly TileRing[];
  /** Offset of the places, one for each slot of level 0. */
  readonly places: number;
  /** The journal: a ring of bytes. Position P lies at `base + P mod length`. */
  readonly journal: { readonly base: number; readonly length: number };
  /** Two places, behind the journal, for the newest quote of a boot. */
  readonly quotes: { readonly base: number; readonly length: number };
  /** Two slots, behind the quotes, for sealed state. The smallest disk has no room for any. */
  readonly slots: { readonly base: number; readonly length: number };
  /** Largest block in bytes, padding included. */
  readonly maxBlock: number;
}

/**
 * The layout of a disk of so many bytes.
 *
 * A ring above level 0 has one tile more than fit under it. Without it, a tile that leads from the
 * oldest record upwards could be overwritten while that record is still held.
 *
 * @throws DecodeError `range`
 */
export function logLayout(capacity: number): LogLayout {
  if (!Number.isSafeInteger(capacity) || capacity < MIN_LOG_BYTES || capacity > MAX_LOG_BYTES) {
    const wanted = `${MIN_LOG_BYTES} to ${MAX_LOG_BYTES}`;
    throw new DecodeError('range', `a log on a disk of ${capacity} bytes, ${wanted} are expected`, 0);
  }
  const levels: TileRing[] = [];
  let base = 2 * SUPERBLOCK_SPACING_BYTES;
  let tiles = Math.max(2, Math.floor(capacity / HASH_SHARE / TILE_BYTES));
  const places = Math.ceil((tiles * PLACE_BYTES) / SECTOR_BYTES) * SECTOR_BYTES;
  for (let level = 0; level < TILE_LEVELS; level++) {
    levels.push({ base, tiles });
    base += tiles * TILE_BYTES;
    tiles = Math.ceil(tiles / TILE_HASHES) + 1;
  }
  const journal = base + places;
  const share = Math.floor(capacity / QUOTE_SHARE / SECTOR_BYTES) * SECTOR_BYTES;
  const place = Math.min(MAX_QUOTE_PLACE_BYTES, share);
  const slot = Math.floor((capacity - MIN_LOG_BYTES) / SLOT_SHARE / SLOT_STEP_BYTES) * SLOT_STEP_BYTES;
  const length = Math.floor((capacity - journal) / SECTOR_BYTES) * SECTOR_BYTES - 2 * (place + slot);
  const quotes = journal + length;
  return {
    capacity,
    levels,
    places: base,
    journal: { base: journal, length },
    quotes: { base: quotes, length: place },
    slots: { base: quotes + 2 * place, length: slot },
    maxBlock: Math.min(MAX_BLOCK_BYTES, Math.floor(length / BLOCK_SHARE / SECTOR_BYTES) * SECTOR_BYTES),
  };
}

/** Bytes up to the next sector. */
export function sectors(length: number): number {
  return Math.ceil(length / SECTOR_BYTES) * SECTOR_BYTES;
}

/** The offset on the disk of a position of the journal. */
export function offsetOf({ journal }: LogLayout, position: number): number {
  return journal.base + (position % journal.length);
}

/** Bytes of the journal from a position to the end of the ring. */
export function untilRingEnd({ journal }: LogLayout, position: number): number {
  return journal.length - (position % journal.length);
}

/** The hashes that a level has in a tree of `size` leaves. */
export function hashesAt(level: number, size: number): number {
  return Math.floor(size / TILE_HASHES ** level);
}
