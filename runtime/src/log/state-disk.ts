/** The parts of a log's disk that have sealed state: two slots, and sections of the journal. */

import { readSync } from 'node:fs';
import { equalBytes, join } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  type Block,
  type BlockSection,
  endOf,
  type JournalEnd,
  type LogDisk,
  offsetOf,
  SEAL_SECTION,
  STATE_SECTION,
} from '@enclaim/attestation/log-disk';
import { leafHash } from '@enclaim/attestation/merkle';
import { RECOVERY_AREA_BYTES, RECOVERY_AT, recoveryIn } from '@enclaim/attestation/recovery';
import { RefusalError } from '../errors.ts';
import { type BlockFacts, blockFactsBytes } from './carried.ts';
import type { Device } from './device.ts';
import type { LogWriter } from './log-writer.ts';

/** Bytes that are read at once while blocks are followed. */
const AHEAD_BYTES = 1024 * 1024;

/** Bytes that are read without leaving the turn. */
const MAX_READ_AT_ONCE = 16 * 1024;

/** Bytes of the seal of a block. */
export const SEAL_BYTES = 16;

/** A sealed part of a block. */
export interface StateSection {
  /** Position of its first byte in the journal. */
  readonly position: number;
  /** A view of what was read. */
  readonly data: Uint8Array;
}

/** Reads and writes sealed state where a log's disk has it. It knows nothing of what is sealed. */
export class StateDisk {
  readonly #disk: LogDisk;
  readonly #writer: LogWriter;
  readonly #device: Pick<Device, 'fd'>;
  /** Seals the facts of a block; undefined where no sealed state is. */
  #seal: ((facts: Uint8Array) => Uint8Array | undefined) | undefined;
  /** Position from which on the journal must not be overwritten, whatever records are forgotten. */
  #least: () => number = () => Number.POSITIVE_INFINITY;

  constructor(disk: LogDisk, writer: LogWriter, device: Pick<Device, 'fd'>) {
    this.#disk = disk;
    this.#writer = writer;
    this.#device = device;
  }

  /** Bytes of a slot; 0 on a disk that has no room for any. */
  get slotBytes(): number {
    return this.#disk.layout.slots.length;
  }

  /** Bytes of the journal. */
  get journalBytes(): number {
    return this.#disk.layout.journal.length;
  }

  /** Position from which on the journal is held. */
  get least(): number {
    return this.#least();
  }

  /** Holds the journal from a position on, which may grow. */
  hold(least: () => number): void {
    this.#least = least;
  }

  /**
   * Has every block from now on sealed. A host that leaves out sealed parts of one, or changes
   * which records they ride with, is found out when the block is followed.
   *
   * @param seal gives {@link SEAL_BYTES} bytes, or undefined once nothing is stored any more
   */
  sealBlocks(seal: (facts: Uint8Array) => Uint8Array | undefined): void {
    this.#seal = seal;
  }

  /**
   * The sections that seal a block.
   *
   * **Cost**: its facts are put together only where something seals them.
   */
  sealsOf(facts: () => BlockFacts): readonly BlockSection[] {
    const data = this.#seal?.(blockFactsBytes(facts()));
    return data === undefined ? [] : [{ type: SEAL_SECTION, data }];
  }

  /** Bytes of a slot. Nothing beyond its end is read. */
  async readSlot(slot: number, at: number, length: number): Promise<Uint8Array> {
    const { base, length: most } = this.#disk.layout.slots;
    if (at + length > most) throw new RefusalError('state', `bytes ${at} to ${at + length} of a slot of ${most}`);
    return await this.#disk.bytes(base + slot * most + at, length);
  }

  /** Bytes of the recovery that the disk brings; undefined without one that is whole. */
  async readRecovery(): Promise<Uint8Array | undefined> {
    return recoveryIn(await this.#disk.bytes(RECOVERY_AT, RECOVERY_AREA_BYTES));
  }

  /** Writes bytes of a slot; they are on stable storage once it has resolved. */
  async writeSlot(slot: number, at: number, data: Uint8Array): Promise<void> {
    const { base, length: most } = this.#disk.layout.slots;
    if (at + data.length > most)
      throw new RefusalError('state', `bytes ${at} to ${at + data.length} of a slot of ${most}`);
    await this.#writer.write(data, base + slot * most + at);
  }

  /**
   * Bytes of the journal, as they stand there now.
   *
   * **Cost**: few bytes, which the kernel mostly has, are read at once: a promise through the pool
   * of threads takes ten times as long. The loop waits for the disk where the kernel has not.
   */
  read(position: number, length: number): Uint8Array | Promise<Uint8Array> {
    const at = offsetOf(this.#disk.layout, position);
    const { fd } = this.#device;
    if (fd === undefined || length > MAX_READ_AT_ONCE) return this.#disk.bytes(at, length);
    const bytes = Buffer.allocUnsafe(length);
    return readSync(fd, bytes, 0, length, at) === length ? bytes : this.#disk.bytes(at, length);
  }

  /** Whether a block that the log holds has a sealed part. */
  async hasSections(): Promise<boolean> {
    const { end, held } = this.#writer;
    if (end.size === 0) return false;
    const journal = this.#disk.journal(AHEAD_BYTES);
    let block = await journal.block(held.start);
    while (!block.sections.some(({ type }) => type === STATE_SECTION)) {
      const at = endOf(block);
      if (at.position >= end.position) return false;
      block = await journal.next(at);
    }
    return true;
  }

  /**
   * Follows the journal from an end of before to its end of now.
   *
   * @param onSection hears of every sealed part, in order, with the position of its block
   * @param onBlock hears of every block before its parts: facts, and their seal
   * @throws RefusalError `state` if the log does not continue that end
   */
  async follow(
    from: JournalEnd,
    onSection: (section: StateSection, block: number) => void,
    onBlock: (facts: Uint8Array, seal: Uint8Array | undefined) => void = () => {},
  ): Promise<void> {
    const { end } = this.#writer;
    const journal = this.#disk.journal(AHEAD_BYTES);
    let at = from;
    while (at.position < end.position) {
      let block: Block;
      try {
        block = await journal.next(at);
      } catch (cause) {
        if (cause instanceof DecodeError) throw gone(from, { cause });
        throw cause;
      }
      onBlock(factsOf(block), block.sections.find(({ type }) => type === SEAL_SECTION)?.data);
      for (const section of block.sections)
        if (section.type === STATE_SECTION)
          onSection({ position: block.position + section.at, data: section.data }, block.position);
      at = endOf(block);
    }
    if (at.size !== end.size || at.position !== end.position || !equalBytes(at.prior, end.prior)) throw gone(from);
  }
}

/** The facts of a block as it was read. */
function factsOf({ first, entries, sections }: Block): Uint8Array {
  const parts = sections.flatMap(({ type, data }) => (type === STATE_SECTION ? [data] : []));
  return blockFactsBytes({ first, leaves: join(entries.map((entry) => leafHash(entry))), parts });
}

function gone({ size, position }: JournalEnd, options?: ErrorOptions): RefusalError {
  const message = `the log does not continue the one that the stored state was written with, of ${size} records at ${position}`;
  return new RefusalError('state', message, options);
}
