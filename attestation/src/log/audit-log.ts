/**
 * Auditing a log's disk: every block that is held is followed, every hash made anew, and what
 * superblocks, tiles and places say is held against that.
 */

import { equalBytes } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { leafHash } from '../merkle.ts';
import type { Block } from './block.ts';
import { GrowingTree } from './growing-tree.ts';
import { endOf, JOURNAL_BEGIN, type Journal, type JournalEnd } from './journal.ts';
import { hashesAt, SECTOR_BYTES, SUPERBLOCK_SPACING_BYTES, TILE_HASHES } from './layout.ts';
import { LogDisk, type ReadDisk } from './log-disk.ts';
import { isWritten, treeAt } from './recover.ts';
import { oldestBlock } from './scan.ts';
import type { Superblock } from './superblock.ts';
import { treeRoot } from './tree-nodes.ts';

/** A fault of a disk. */
export interface LogFault {
  /** `head`: the log is not the one of a tree that is known from elsewhere. */
  readonly part: 'superblock' | 'block' | 'tree' | 'tile' | 'place' | 'head';
  readonly message: string;
}

/** A tree that is known from elsewhere: of a checkpoint, a receipt, an earlier audit. */
export interface KnownTree {
  readonly size: number;
  readonly root: Uint8Array;
}

/** An audit's result. */
export interface LogAudit {
  readonly head: KnownTree;
  /** Index of the first record that was read. */
  readonly first: number;
  /** Sizes of known trees that could not be compared: records below are no longer held. */
  readonly uncompared: readonly number[];
  /** Empty if all is as it must be. */
  readonly faults: readonly LogFault[];
}

/** Faults of one audit, at most: a disk that was overwritten has one in each tile. */
export const MAX_LOG_FAULTS = 1000;
/** Bytes that are read at once. */
const AHEAD_BYTES = 1024 * 1024;
/** Bytes of the journal between two comparisons of tiles, which are held in memory until then. */
const COMPARED_BYTES = 4 * 1024 * 1024;

/**
 * Audits a log's disk.
 *
 * **Trust**: a host can make a whole disk anew. That the log goes on from what it was shows by
 * `known` trees alone.
 * @param known trees of this log that are known from elsewhere
 * @param onBlock hears of every block that is followed
 * @throws DecodeError `range` if no log has so many bytes
 */
export async function auditLog(
  read: ReadDisk,
  capacity: number,
  known: readonly KnownTree[] = [],
  onBlock: (block: Block) => void = () => {},
): Promise<LogAudit> {
  return await new LogAuditor(new LogDisk(read, capacity), known, onBlock).audit();
}

class LogAuditor {
  readonly #disk: LogDisk;
  readonly #known: readonly KnownTree[];
  readonly #onBlock: (block: Block) => void;
  readonly #faults: LogFault[] = [];
  /** Blocks that superblocks name, by the size at their end. */
  #named: Superblock[] = [];
  #tree = new GrowingTree();
  #end: JournalEnd = JOURNAL_BEGIN;
  #first = 0;
  /** Size of the tree that was taken as the disk has it, because its records are not held. */
  #base = 0;
  /** Sequence of the newest superblock that a block names. */
  #sequence = 0;
  /** Records whose tiles and places the newest superblock says are on the disk. */
  #settled = 0;

  constructor(disk: LogDisk, known: readonly KnownTree[], onBlock: (block: Block) => void) {
    this.#disk = disk;
    this.#known = known;
    this.#onBlock = onBlock;
  }

  async audit(): Promise<LogAudit> {
    const newest = await this.#superblocks();
    const journal = this.#disk.journal(AHEAD_BYTES);
    await this.#begin(journal, newest);
    await this.#follow(journal);
    if (await isWritten(this.#disk, this.#end))
      this.#fault('block', `behind the last block, at ${this.#end.position}, stands something else`);
    const latest = newest?.sequence ?? 0;
    if (this.#sequence > latest) this.#fault('superblock', `superblock ${latest} where there was a ${this.#sequence}`);
    for (const { sequence, size } of this.#named)
      this.#fault('superblock', `superblock ${sequence} names a block that ends at ${size}, which is not there`);
    for (const { size } of this.#known.filter(({ size }) => size > this.#tree.size))
      this.#fault('head', `the log ends at ${this.#tree.size}, and a tree of ${size} records is known`);
    const head = { size: this.#tree.size, root: treeRoot(this.#tree.frontier()) };
    const uncompared = this.#known.map(({ size }) => size).filter((size) => size > 0 && size <= this.#base);
    return { head, first: this.#first, uncompared, faults: this.#faults };
  }

  #fault(part: LogFault['part'], message: string): void {
    if (this.#faults.length < MAX_LOG_FAULTS) this.#faults.push({ part, message });
  }

  /** The newer superblock. Two that do not follow each other were not written by one log. */
  async #superblocks(): Promise<Superblock | undefined> {
    const both = await this.#disk.superblocks();
    const found = both.filter((each): each is Superblock => !(each instanceof DecodeError));
    const [newest, older] = found.toSorted((one, other) => other.sequence - one.sequence);
    const isBlank = newest === undefined && (await this.#isBlank());
    for (const [slot, each] of both.entries()) {
      // The first boot writes one superblock, and has no second yet.
      const isFirst = newest?.sequence === 1 && slot === 0;
      if (each instanceof DecodeError) {
        if (!isFirst && !isBlank) this.#fault('superblock', `superblock in place ${slot}: ${each.message}`);
      } else {
        if (each.sequence % 2 !== slot) this.#fault('superblock', `superblock ${each.sequence} in place ${slot}`);
        if (each.capacity !== this.#disk.layout.capacity)
          this.#fault('superblock', `superblock ${each.sequence} is of a disk of ${each.capacity} bytes`);
        // The older one may name a block that has been overwritten since.
        if (each.size > 0 && each.position >= (newest?.start ?? 0)) this.#named.push(each);
      }
    }
    if (older !== undefined && newest !== undefined && older.sequence !== newest.sequence - 1)
      this.#fault('superblock', `superblock ${newest.sequence} beside ${older.sequence}`);
    this.#settled = newest?.size ?? 0;
    return newest;
  }

  /** Whether nothing was ever written to where the log begins. */
  async #isBlank(): Promise<boolean> {
    const { journal } = this.#disk.layout;
    const begins = [this.#disk.bytes(0, SUPERBLOCK_SPACING_BYTES * 2), this.#disk.bytes(journal.base, SECTOR_BYTES)];
    return (await Promise.all(begins)).every((bytes) => bytes.every((byte) => byte === 0));
  }

  /** Begins at index 0, or at the oldest block that is held. */
  async #begin(journal: Journal, newest: Superblock | undefined): Promise<void> {
    const start = newest?.start ?? 0;
    const block = start > 0 ? await this.#attempt('block', () => journal.block(start)) : undefined;
    const oldest =
      block ?? (start > 0 || newest === undefined ? await oldestBlock(this.#disk.layout, journal) : undefined);
    if (oldest === undefined || oldest.first === 0) return;
    this.#first = oldest.first;
    const tree = await this.#attempt('tile', () => treeAt(this.#disk, oldest));
    if (tree === undefined) return;
    this.#tree = tree;
    this.#base = oldest.size;
    this.#passed(oldest);
    this.#end = endOf(oldest);
  }

  /** Follows all blocks. */
  async #follow(journal: Journal): Promise<void> {
    let compared = this.#tree.size;
    let comparedAt = this.#end.position;
    for (let block = await this.#next(journal); block !== undefined; block = await this.#next(journal)) {
      await this.#places(block);
      this.#grow(block);
      this.#end = endOf(block);
      this.#passed(block);
      if (this.#end.position - comparedAt < COMPARED_BYTES) continue;
      await this.#tiles(compared);
      [compared, comparedAt] = [this.#tree.size, this.#end.position];
    }
    await this.#tiles(compared);
  }

  async #next(journal: Journal): Promise<Block | undefined> {
    try {
      return await journal.next(this.#end);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return undefined;
    }
  }

  /** Adds a block's entries to the tree, which has to become the block's. */
  #grow(block: Block): void {
    const known = new Map(this.#known.map((each) => [each.size, each.root]));
    for (const [i, entry] of block.entries.entries()) {
      this.#tree.append(leafHash(entry));
      const root = known.get(block.first + i + 1);
      if (root !== undefined && !equalBytes(root, treeRoot(this.#tree.frontier())))
        this.#fault('head', `the tree of ${block.first + i + 1} records is not the one that is known`);
    }
    const frontier = this.#tree.frontier();
    if (frontier.some((hash, i) => !equalBytes(hash, block.frontier[i] ?? new Uint8Array())))
      this.#fault('tree', `the block at ${block.position} has records that are not those of its tree`);
  }

  /** Strikes out what superblocks say of a block that is there, and tells of it. */
  #passed(block: Block): void {
    this.#onBlock(block);
    const { position, size, hash, sequence } = block;
    this.#sequence = Math.max(this.#sequence, sequence);
    const isOther = (it: Superblock): boolean =>
      it.position !== position || it.size !== size || !equalBytes(it.block, hash);
    this.#named = this.#named.filter(isOther);
  }

  /** Compares places of tiles that begin in a block. */
  async #places({ first, size, position }: Block): Promise<void> {
    for (let tile = Math.ceil(first / TILE_HASHES); tile * TILE_HASHES < Math.min(size, this.#settled); tile++) {
      const place = await this.#attempt('place', () => this.#disk.place(tile));
      if (place !== undefined && place !== position)
        this.#fault('place', `the place of tile ${tile} is ${place}, its first record stands at ${position}`);
    }
  }

  /** Compares the tiles that became full or longer since the tree had `from` records. */
  async #tiles(from: number): Promise<void> {
    const settled = Math.min(this.#settled, this.#tree.size);
    for (let level = 0; level < this.#disk.layout.levels.length; level++) {
      const hashes = hashesAt(level, settled);
      for (let tile = Math.floor(hashesAt(level, from) / TILE_HASHES); tile * TILE_HASHES < hashes; tile++) {
        const width = Math.min(TILE_HASHES, hashes - tile * TILE_HASHES);
        const own = this.#tree.tile(level, tile)?.hashes(width);
        if (own !== undefined && !equalBytes(own, await this.#disk.tile(level, tile, width)))
          this.#fault('tile', `tile ${level}/${tile} is not the one of the records`);
      }
    }
    this.#tree.settle();
  }

  async #attempt<T>(part: LogFault['part'], step: () => Promise<T>): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#fault(part, error.message);
      return undefined;
    }
  }
}
