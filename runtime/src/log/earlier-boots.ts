/**
 * Earlier boots of a log, by the last quote that was kept of each: their records are proved under
 * the quotes of the boots that wrote them.
 */

import { create } from '@bufbuild/protobuf';
import { equalBytes } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  type Block,
  beganWith,
  type KeptQuote,
  type QuotedBoot,
  quotedBoot,
  quoteIn,
} from '@enclaim/attestation/log-disk';
import { type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import { RefusalError } from '../errors.ts';

/**
 * Earlier boots that are known at once.
 *
 * **Bound**: the chain of their quotes is the host's, and each is a read of up to a block.
 */
export const MAX_EARLIER_BOOTS = 4096;

/** The log, as far as quotes of earlier boots are held against it. */
export interface QuotedLog {
  rootAt(size: number): Promise<Uint8Array>;
  inclusion(index: number, size: number): Promise<Uint8Array[]>;
  /** The block at a position. @throws DecodeError */
  block(position: number): Promise<Block>;
}

/** A boot that a kept quote names, and where the quote stands: in memory, or in a block. */
interface EarlierBoot {
  readonly began: number;
  readonly size: number;
  readonly at: KeptQuote | number;
}

/** The end of a look for an earlier boot. There may be `more` of them: that takes another look. */
export type Looked = LogProof | 'more' | undefined;

/**
 * Earlier boots of one log, the newest first. Each look reads one quote at most.
 *
 * **Trust**: quotes stand on the host's disk. Those whose trees are not trees of this log, or whose
 * boots overlap, are left out, and so is what lies before them. Whether the hardware signed the
 * rest, the verifier of a proof checks.
 */
export class EarlierBoots {
  readonly #log: QuotedLog;
  readonly #known: EarlierBoot[] = [];
  /** Where the next quote stands; 0 for none. */
  #next: KeptQuote | number;
  /** Bounds of the next boot: of its records, and of its quote's position. */
  #below: number;
  #position = Number.MAX_SAFE_INTEGER;

  /**
   * @param newest the quote of the last boot before this one, or the position of its block
   * @param size of the log as this boot found it
   */
  constructor(log: QuotedLog, newest: KeptQuote | number, size: number) {
    this.#log = log;
    this.#next = newest;
    this.#below = size;
  }

  /** The way of a record to the quote of the boot that wrote it; undefined if none is kept. */
  async proofOf(index: number): Promise<Looked> {
    const boot = this.#known.find(({ began }) => began <= index);
    if (boot === undefined) return this.#look();
    if (index >= boot.size) return undefined;
    const { checkpoint, evidence } = await this.#proofOf(boot);
    const path = await this.#log.inclusion(index, boot.size);
    return create(LogProofSchema, { index: BigInt(index), path, checkpoint, ...(evidence && { evidence }) });
  }

  /** The newest quote over a tree of at most so many records, without index and path. */
  async quoteWithin(size: number): Promise<Looked> {
    const boot = this.#known.find((each) => each.size <= size);
    return boot === undefined ? this.#look() : this.#proofOf(boot);
  }

  async #proofOf({ at }: EarlierBoot): Promise<LogProof> {
    return quotedBoot((await this.#quoteAt(at)).quote).proof;
  }

  /** Reads one more quote. */
  async #look(): Promise<'more' | undefined> {
    const at = this.#next;
    this.#next = 0;
    if (at === 0 || this.#known.length >= MAX_EARLIER_BOOTS) return undefined;
    // layer: quotes lead to earlier ones
    if (typeof at === 'number' && at >= this.#position) return undefined;
    try {
      const kept = await this.#quoteAt(at);
      const boot = quotedBoot(kept.quote);
      if (!(await fitsLog(boot, this.#log, this.#below))) return undefined;
      const { size: began } = boot.statement.log;
      this.#known.push({ began, size: boot.checkpoint.size, at });
      this.#below = began;
      if (typeof at === 'number') this.#position = at;
      this.#next = kept.before;
      return 'more';
    } catch (error) {
      if (error instanceof DecodeError) return undefined;
      throw error;
    }
  }

  async #quoteAt(at: KeptQuote | number): Promise<KeptQuote> {
    if (typeof at !== 'number') return at;
    const kept = quoteIn(await this.#log.block(at));
    if (kept === undefined) throw new DecodeError('syntax', 'a block without a quote', at);
    return kept;
  }
}

/**
 * Whether the tree of a quote, and the one that its boot found, are trees of this log, of at most
 * `below` records.
 */
export async function fitsLog(
  { statement, checkpoint }: QuotedBoot,
  log: Pick<QuotedLog, 'rootAt'>,
  below: number,
): Promise<boolean> {
  // layer: boots do not overlap
  if (checkpoint.size > below) return false;
  // layer: quotes are of this tree
  if ((await isTreeOf(log, checkpoint)) !== true) return false;
  // What a mirror alone holds cannot be compared.
  return (await isTreeOf(log, beganWith(statement))) ?? true;
}

/** Whether a log begins with a tree; undefined if it no longer holds so much of it. */
async function isTreeOf(
  log: Pick<QuotedLog, 'rootAt'>,
  { size, root }: { readonly size: number; readonly root: Uint8Array },
): Promise<boolean | undefined> {
  try {
    return equalBytes(await log.rootAt(size), root);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    // The disk has another tile than the tree's. One that cannot be read says nothing of a quote.
    if (error instanceof RefusalError && error.cause instanceof DecodeError) return false;
    throw error;
  }
}
