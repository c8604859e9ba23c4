/** A log's disk, read: superblocks, tiles and places at their addresses. */

import { Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { Journal } from './journal.ts';
import { type KeptQuote, parseKeptQuote } from './kept-quote.ts';
import {
  HASH_BYTES,
  type LogLayout,
  logLayout,
  PLACE_BYTES,
  SECTOR_BYTES,
  SUPERBLOCK_SPACING_BYTES,
  TILE_BYTES,
} from './layout.ts';
import { parseSuperblock, type Superblock, safeNumber } from './superblock.ts';

/** Reads bytes of a disk, at most so many; none where it ends. */
export type ReadDisk = (at: number, length: number) => Promise<Uint8Array>;

/** A disk with the layout of its size. */
export class LogDisk {
  readonly layout: LogLayout;
  readonly #read: ReadDisk;

  /** @throws DecodeError `range` if no log has so many bytes */
  constructor(read: ReadDisk, capacity: number) {
    this.layout = logLayout(capacity);
    this.#read = read;
  }

  /**
   * Bytes of the disk. Behind the end of a file that stands for one are zeros. A read that is short
   * before that is gone on with: else what a log has there would look like its end.
   */
  async bytes(at: number, length: number): Promise<Uint8Array> {
    const first = await this.#read(at, length);
    if (first.length === length) return first;
    const bytes = new Uint8Array(length);
    bytes.set(first);
    for (let done = first.length, got = first.length; got > 0 && done < length; done += got) {
      const more = await this.#read(at + done, length - done);
      bytes.set(more, done);
      got = more.length;
    }
    return bytes;
  }

  /** The two superblocks, or why one is none. */
  async superblocks(): Promise<(Superblock | DecodeError)[]> {
    const bytes = await this.bytes(0, 2 * SUPERBLOCK_SPACING_BYTES);
    return [0, SUPERBLOCK_SPACING_BYTES].map((at) =>
      parsedOr(() => parseSuperblock(bytes.slice(at, at + SECTOR_BYTES))),
    );
  }

  /** The kept quotes of the two places, or why there is none. */
  async quotes(): Promise<(KeptQuote | DecodeError)[]> {
    const { base, length } = this.layout.quotes;
    const places = [this.bytes(base, length), this.bytes(base + length, length)];
    return (await Promise.all(places)).map((place) => parsedOr(() => parseKeptQuote(place)));
  }

  /** `width` hashes of a tile, as they stand in its slot. */
  async tile(level: number, index: number, width: number): Promise<Uint8Array> {
    const ring = this.layout.levels[level];
    if (ring === undefined) throw new DecodeError('range', `tiles of level ${level}`, 0);
    return await this.bytes(ring.base + (index % ring.tiles) * TILE_BYTES, width * HASH_BYTES);
  }

  /** The position of the block with the first record of a tile, as it stands in the tile's slot. */
  async place(tile: number): Promise<number> {
    const slot = tile % (this.layout.levels[0]?.tiles ?? 1);
    return safeNumber(new Reader(await this.bytes(this.layout.places + slot * PLACE_BYTES, PLACE_BYTES)));
  }

  /** A reader of the journal, which reads so many bytes at once. */
  journal(ahead: number): Journal {
    return new Journal(this.layout, (at, length) => this.bytes(at, length), ahead);
  }
}

/** The result of parsing, or its error. */
function parsedOr<T>(parse: () => T): T | DecodeError {
  try {
    return parse();
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
}
