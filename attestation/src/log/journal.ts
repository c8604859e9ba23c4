/** The journal of a log's disk: its blocks, followed from one to the next. */

import { equalBytes } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { type Block, type BlockHead, parseBlock, parseBlockHead } from './block.ts';
import { HASH_BYTES, type LogLayout, offsetOf, SECTOR_BYTES, sectors, untilRingEnd } from './layout.ts';

/** The end of a block, which the next one continues. */
export interface JournalEnd {
  /** Position behind the block, padding included. */
  readonly position: number;
  /** Hash of the block; zeros before the first. */
  readonly prior: Uint8Array;
  /** Size of the log after it. */
  readonly size: number;
}

/** The end of a journal without blocks. */
export const JOURNAL_BEGIN: JournalEnd = { position: 0, prior: new Uint8Array(HASH_BYTES), size: 0 };

/** The end that a block leaves. */
export function endOf({ position, length, hash, size }: Block): JournalEnd {
  return { position: position + sectors(length), prior: hash, size };
}

/**
 * Reads the journal once, from one position onwards: what is written meanwhile is not seen by it.
 */
export class Journal {
  readonly #layout: LogLayout;
  readonly #read: (at: number, length: number) => Promise<Uint8Array>;
  readonly #ahead: number;
  /** Bytes that were read last, and their offset on the disk. */
  #chunk: Uint8Array = new Uint8Array();
  #chunkAt = 0;

  /** @param ahead bytes that are read at once */
  constructor(layout: LogLayout, read: (at: number, length: number) => Promise<Uint8Array>, ahead: number) {
    this.#layout = layout;
    this.#read = read;
    this.#ahead = ahead;
  }

  /** The block at a position. @throws DecodeError */
  async block(position: number): Promise<Block> {
    const { length } = await this.#head(position);
    return parseBlock(await this.bytes(position, sectors(length)), position);
  }

  /**
   * The block that continues an end: it stands there, or at the begin of the ring if it did not fit
   * before it.
   *
   * @throws DecodeError why there is none
   */
  async next(end: JournalEnd): Promise<Block> {
    const here = await this.#continuation(end, end.position);
    if (!(here instanceof DecodeError)) return here;
    const rest = untilRingEnd(this.#layout, end.position);
    if (rest >= this.#layout.maxBlock) throw here;
    const there = await this.#continuation(end, end.position + rest);
    if (there instanceof DecodeError) throw here;
    return there;
  }

  /**
   * The block that holds a record, found by the heads of those before: a block that was damaged is
   * passed over.
   *
   * @param position of a block that holds this record or an earlier one
   * @throws DecodeError if there is none
   */
  async blockOf(index: number, position: number): Promise<Block> {
    let head = await this.#head(position);
    if (head.first > index) throw new DecodeError('canonical', `record ${index} is not where it has its place`, 24);
    while (head.size <= index) {
      const behind = head.position + sectors(head.length);
      const [here, begin] = [behind, behind + untilRingEnd(this.#layout, behind)];
      const { size } = head;
      head = await this.#head(here).catch(() => this.#head(begin));
      if (head.first !== size) throw new DecodeError('canonical', `a block that does not continue ${size} records`, 24);
    }
    return await this.block(head.position);
  }

  async #head(position: number): Promise<BlockHead> {
    return parseBlockHead(await this.bytes(position, SECTOR_BYTES), position);
  }

  /** Bytes from a position on, as a view. @throws DecodeError `truncated` beyond the ring's end */
  async bytes(position: number, length: number): Promise<Uint8Array> {
    const rest = untilRingEnd(this.#layout, position);
    if (length > rest) throw new DecodeError('truncated', `${length} bytes, ${rest} before the ring's end`, position);
    const at = offsetOf(this.#layout, position);
    if (at < this.#chunkAt || at + length > this.#chunkAt + this.#chunk.length) {
      this.#chunk = await this.#read(at, Math.min(rest, Math.max(length, this.#ahead)));
      this.#chunkAt = at;
    }
    return this.#chunk.subarray(at - this.#chunkAt, at - this.#chunkAt + length);
  }

  async #continuation(end: JournalEnd, position: number): Promise<Block | DecodeError> {
    try {
      const block = await this.block(position);
      // layer: blocks name the one before (off: true)
      const continues = block.first === end.size && equalBytes(block.prior, end.prior);
      return continues ? block : new DecodeError('canonical', `a block that does not continue ${end.size} records`, 40);
    } catch (error) {
      if (error instanceof DecodeError) return error;
      throw error;
    }
  }
}
