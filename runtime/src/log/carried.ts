/**
 * Parts of blocks that stand or fall with records: sealed changes of stored state, which ride in
 * the block of the record that says that they were made.
 */

import { concat, setU64be } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { HASH_BYTES, SECTION_PREFIX_BYTES, STATE_SECTION } from '@enclaim/attestation/log-disk';
import { RefusalError } from '../errors.ts';
import type { Batch, Carried, Waiting } from './commit-queue.ts';

/** Bytes that a part takes in its block. */
export function carriedBytes({ length }: Pick<Carried, 'length'>): number {
  return SECTION_PREFIX_BYTES + length;
}

/** The section that a part becomes. */
export function sectionOf(part: Carried): { readonly type: number; readonly data: Uint8Array } {
  const data = part.write();
  if (data.length !== part.length)
    throw new TypeError(`a part of ${data.length} bytes that was to have ${part.length}`);
  return { type: STATE_SECTION, data };
}

/** Facts of a block that its seal binds: its records, and the sealed parts beside them. */
export interface BlockFacts {
  readonly first: number;
  /** Leaf hashes of its records, one behind the other. */
  readonly leaves: Uint8Array;
  readonly parts: readonly Uint8Array[];
}

/** The bytes of these facts: three numbers of 8 bytes each, and hashes. */
export function blockFactsBytes({ first, leaves, parts }: BlockFacts): Uint8Array {
  const counts = [first, leaves.length / HASH_BYTES, parts.length].map((count) => {
    const bytes = new Uint8Array(8);
    setU64be(bytes, 0, count);
    return bytes;
  });
  return concat(...counts, leaves, ...parts.map((part) => sha256(part)));
}

/** Leaf hashes of records that are being written, one behind the other. */
export function leavesOf(records: readonly Pick<Waiting, 'hash'>[]): Uint8Array {
  const leaves = Buffer.allocUnsafe(records.length * HASH_BYTES);
  for (const [i, { hash }] of records.entries()) leaves.write(hash, i * HASH_BYTES, 'hex');
  return leaves;
}

/**
 * Parts of one turn, and the record that they ride with. Room for them is asked for first; they may
 * come before the record has its place, or after.
 */
export class Carriage {
  readonly #most: number;
  #expected = 0;
  /** Parts that came before their record. */
  #early: Carried[] = [];
  #batch: Batch | undefined;

  /** @param most bytes of the parts of one record */
  constructor(most: number) {
    this.#most = most;
  }

  /** Bytes that the next record has to have beside it. */
  get expected(): number {
    return this.#expected;
  }

  /** Whether parts came whose record has no place yet. */
  get isBegun(): boolean {
    return this.#early.length > 0;
  }

  /**
   * Asks for room beside the next record.
   *
   * @throws RefusalError `budget`, ending the call, if no block has so much
   */
  expect(bytes: number): void {
    this.#batch = undefined;
    this.#expected += bytes;
    if (this.#expected <= this.#most) return;
    this.forget();
    throw new RefusalError('budget', 'more is stored at once than a block of the disk holds', { final: true });
  }

  /** Room is no longer needed: the record was refused. */
  forget(): void {
    this.#expected = 0;
  }

  /** Adds a part. @throws TypeError if no room was asked for */
  add(part: Carried): void {
    const bytes = carriedBytes(part);
    if (this.#batch === undefined) {
      if (this.#early.reduce((sum, each) => sum + carriedBytes(each), bytes) > this.#expected)
        throw new TypeError('a part that no room was asked for');
      this.#early.push(part);
      return;
    }
    if (this.#batch.begun || this.#batch.spare < bytes) throw new TypeError('a part without its record');
    this.#batch.spare -= bytes;
    this.#batch.carried.push(part);
  }

  /** The record has its place, in a batch that has the room. */
  placed(batch: Batch): void {
    // A listener may place a record of its own before the parts of this one come.
    if (this.#expected > 0) this.#batch = batch;
    batch.spare += this.#expected;
    this.#expected = 0;
    const early = this.#early;
    this.#early = [];
    for (const part of early) this.add(part);
  }
}
