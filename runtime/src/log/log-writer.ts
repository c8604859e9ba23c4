/**
 * The writer of a log's disk: a block for each batch, and from time to time tiles, places and a
 * superblock, so that the next boot need not follow the journal from its begin.
 */

import { randomBytes } from 'node:crypto';
import { equalBytes, setU64be } from '@enclaim/attestation/bytes';
import {
  type BlockSection,
  blockLength,
  encodeSuperblock,
  type FoundLog,
  type FullTile,
  type GrowingTree,
  HASH_BYTES,
  hashesAt,
  type JournalEnd,
  type LogDisk,
  type LogLayout,
  offsetOf,
  PLACE_BYTES,
  SUPERBLOCK_SPACING_BYTES,
  sealBlock,
  sectionsLength,
  sectors,
  TILE_BYTES,
  TILE_HASHES,
  TILE_LEVELS,
  untilRingEnd,
  WRITER_BYTES,
  writeBlockHead,
} from '@enclaim/attestation/log-disk';
import type { Waiting } from './commit-queue.ts';
import { asked, type Device } from './device.ts';

/** Bytes of the journal after which it settles; an 8th of a small one. */
const SETTLE_BYTES = 4 * 1024 * 1024;
const SETTLE_SHARE = 8;
/** Tiles of one write. */
const MAX_TILES_A_WRITE = 64;

/** A tree of records that are on stable storage. */
export interface DurableTree {
  readonly size: number;
  /** Roots of its complete subtrees, largest first. */
  readonly frontier: readonly Uint8Array[];
}

/** A block that is on stable storage. */
export interface Committed {
  readonly tree: DurableTree;
  /** Where the data of its sections begin, as positions of the journal. */
  readonly sections: readonly number[];
}

/** A block on the disk. */
interface Written {
  readonly position: number;
  readonly hash: Uint8Array;
}

/** The oldest record that is held: its index, and the position of its block. */
export interface Held {
  readonly minimum: number;
  readonly start: number;
}

/** Writes a log that was found, from its end on. After an error it is of no further use. */
export class LogWriter {
  readonly #device: Device;
  readonly #disk: LogDisk;
  readonly #layout: LogLayout;
  readonly #tree: GrowingTree;
  readonly #places: Map<number, number>;
  readonly #writer: Uint8Array = randomBytes(WRITER_BYTES);
  /** The hash that is being added to the tree. */
  readonly #leaf = Buffer.alloc(HASH_BYTES);
  #end: JournalEnd;
  /** The last block. */
  #last: Written;
  /**
   * The last block that has a record. Superblocks name it, so that following begins no later: the
   * time of its record is one that has passed.
   */
  #recorded: Written;
  #held: Held;
  /** Records of which the disk has tiles and places, and the position behind them. */
  #settled: { readonly size: number; readonly position: number };
  #sequence: number;
  /** Both superblocks as they should be on the disk; null before the first was written. */
  #superblocks: Uint8Array[] | null = null;
  /** Where blocks are put together: only one is written at a time. */
  #buffer: Buffer = Buffer.alloc(0);

  constructor(device: Device, disk: LogDisk, found: FoundLog) {
    this.#device = device;
    this.#disk = disk;
    this.#layout = disk.layout;
    this.#tree = found.tree;
    this.#places = found.places;
    this.#end = found.end;
    this.#last = writtenOf(found.last) ?? { position: 0, hash: new Uint8Array(HASH_BYTES) };
    this.#recorded = writtenOf(found.recorded) ?? this.#last;
    this.#held = { minimum: found.minimum, start: found.start };
    this.#settled = { size: found.settled, position: found.end.position };
    this.#sequence = found.sequence;
  }

  /** The end of the last block. */
  get end(): JournalEnd {
    return this.#end;
  }

  /** The position behind the last block. */
  get position(): number {
    return this.#end.position;
  }

  /** The position of the last block. */
  get last(): number {
    return this.#last.position;
  }

  /** The position of the last block that has a record. */
  get recorded(): number {
    return this.#recorded.position;
  }

  get held(): Held {
    return this.#held;
  }

  /** Whether much was written since tiles and superblock were, or nothing by this boot yet. */
  get isDue(): boolean {
    const due = Math.min(SETTLE_BYTES, this.#layout.journal.length / SETTLE_SHARE);
    return this.#superblocks === null || this.#end.position - this.#settled.position >= due;
  }

  /**
   * Writes a block of these records in one write, and resolves when it is on stable storage.
   *
   * @param bytes of the entries, each with its length before it
   * @param sections which stand or fall with the records
   * @throws RefusalError `log` if the device fails
   */
  async commit(records: readonly Waiting[], bytes: number, sections: readonly BlockSection[] = []): Promise<Committed> {
    const { size: first, prior } = this.#end;
    const size = first + records.length;
    const length = blockLength(size, bytes, sectionsLength(sections));
    const rest = untilRingEnd(this.#layout, this.#end.position);
    const position = this.#end.position + (sectors(length) > rest ? rest : 0);
    const frontier = this.#grow(records, first, position);
    const block = this.#room(sectors(length));
    const head = { length, count: records.length, position, first, size, prior, sequence: this.#sequence };
    let at = writeBlockHead(block, head, frontier);
    for (const { text, length } of records) {
      at = block.writeUInt16BE(length, at);
      at += block.write(text, at);
    }
    const begins: number[] = [];
    for (const { type, data } of sections) {
      at = block.writeUInt32BE(data.length, block.writeUInt16BE(type, at));
      begins.push(position + at);
      block.set(data, at);
      at += data.length;
    }
    const hash = sealBlock(block, length);
    await this.#write(block, offsetOf(this.#layout, position));
    this.#last = { position, hash };
    if (records.length > 0 || first === 0) this.#recorded = this.#last;
    this.#end = { position: position + block.length, prior: hash, size };
    return { tree: { size, frontier }, sections: begins };
  }

  /**
   * Writes what makes the next boot short: tiles and places of all records, then a superblock.
   *
   * @param held what is held from now on; what lies before may be overwritten once this resolved
   * @returns full tiles, which need not be kept
   * @throws RefusalError `log` if the device fails; Error if another writer wrote a superblock
   * meanwhile
   */
  async settle(held: Held): Promise<FullTile[]> {
    const { size, position } = this.#end;
    for (let level = 0; level < TILE_LEVELS; level++) await this.#writeTiles(level, this.#settled.size, size);
    await this.#writePlaces();
    await this.#writeSuperblock(held);
    this.#held = held;
    this.#settled = { size, position };
    this.#places.clear();
    return this.#tree.settle();
  }

  /**
   * Writes bytes that are no part of the journal, where only one writer writes.
   *
   * @throws RefusalError `log` if the device fails
   */
  write(data: Uint8Array, at: number): Promise<void> {
    return this.#write(data, at);
  }

  /** Adds records to the tree. */
  #grow(records: readonly Waiting[], first: number, position: number): readonly Uint8Array[] {
    for (let i = Math.ceil(first / TILE_HASHES); i * TILE_HASHES < first + records.length; i++)
      this.#places.set(i, position);
    for (const { hash } of records) {
      this.#leaf.write(hash, 'hex');
      this.#tree.append(this.#leaf);
    }
    return this.#tree.frontier();
  }

  /** So many bytes to put a block together in. */
  #room(length: number): Buffer {
    if (this.#buffer.length < length) this.#buffer = Buffer.allocUnsafe(length);
    return this.#buffer.subarray(0, length);
  }

  /** Writes a level's tiles that have hashes of records from `from` to `size`. */
  async #writeTiles(level: number, from: number, size: number): Promise<void> {
    const [known, all] = [hashesAt(level, from), hashesAt(level, size)];
    const ring = this.#layout.levels[level];
    if (known === all || ring === undefined) return;
    const last = Math.floor((all - 1) / TILE_HASHES);
    for (let tile = Math.floor(known / TILE_HASHES); tile <= last; ) {
      const slot = tile % ring.tiles;
      const count = Math.min(last - tile + 1, ring.tiles - slot, MAX_TILES_A_WRITE);
      const tiles = this.#tilesFrom(level, tile, count);
      if (tiles.length > 0) await this.#write(Buffer.concat(tiles), ring.base + slot * TILE_BYTES);
      tile += Math.max(1, tiles.length);
    }
  }

  /** Hashes of neighbouring tiles, up to one that was let go of because the disk has it. */
  #tilesFrom(level: number, from: number, count: number): Uint8Array[] {
    const tiles: Uint8Array[] = [];
    for (let tile = this.#tree.tile(level, from); tile !== undefined && tiles.length < count; ) {
      tiles.push(tile.hashes());
      tile = this.#tree.tile(level, from + tiles.length);
    }
    return tiles;
  }

  /** Writes the places of tiles that began since the last time. */
  async #writePlaces(): Promise<void> {
    const slots = this.#layout.levels[0]?.tiles ?? 1;
    const places = [...this.#places];
    for (let from = 0; from < places.length; ) {
      const slot = (places[from]?.[0] ?? 0) % slots;
      const run = places.slice(from, from + slots - slot); // they are neighbours: each tile has one
      const bytes = new Uint8Array(run.length * PLACE_BYTES);
      for (const [i, [, position]] of run.entries()) setU64be(bytes, i * PLACE_BYTES, position);
      await this.#write(bytes, this.#layout.places + slot * PLACE_BYTES);
      from += run.length;
    }
  }

  async #writeSuperblock({ minimum, start }: Held): Promise<void> {
    const onDisk = [0, 1].map((slot) => this.#disk.bytes(slot * SUPERBLOCK_SPACING_BYTES, SUPERBLOCK_SPACING_BYTES));
    const found = await Promise.all(onDisk);
    // layer: a superblock of another writer is seen
    if (this.#superblocks?.some((known, slot) => !equalBytes(known, found[slot] ?? known)))
      throw new RangeError('another writer has written to the disk of the log');
    const sequence = this.#sequence + 1;
    const sector = encodeSuperblock({
      sequence,
      capacity: this.#layout.capacity,
      ...{ minimum, start },
      size: this.#end.size,
      position: this.#recorded.position,
      block: this.#recorded.hash,
      writer: this.#writer,
    });
    const written = new Uint8Array(SUPERBLOCK_SPACING_BYTES);
    written.set(sector);
    const slot = sequence % 2;
    await this.#write(written, slot * SUPERBLOCK_SPACING_BYTES);
    this.#superblocks = found.with(slot, written);
    this.#sequence = sequence;
  }

  /**
   * Writes all of it. A write across a disk's end is short without an error; what is asked of it
   * then it takes nothing of.
   */
  async #write(data: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < data.length; ) {
      const write = () => this.#device.write(data, done, data.length - done, at + done);
      const { bytesWritten } = await asked('written', write);
      // layer: a disk that takes nothing has failed
      if (bytesWritten === 0) throw new RangeError('the device takes no more');
      // layer: writes are finished (off: Infinity)
      done += bytesWritten;
    }
  }
}

function writtenOf(block: Written | null): Written | undefined {
  return block === null ? undefined : { position: block.position, hash: block.hash };
}
