/** The places of a log's disk for the newest quote of this boot. */

import { DecodeError } from '@enclaim/attestation/errors';
import {
  encodeKeptQuote,
  type KeptQuote,
  type LogDisk,
  maxQuoteBytes,
  type QuotedBoot,
  quotedBoot,
  SECTOR_BYTES,
} from '@enclaim/attestation/log-disk';

/** A quote that an earlier boot left in its place, and the boot that it names. */
export interface FoundQuote extends KeptQuote {
  readonly place: number;
  readonly boot: QuotedBoot;
}

/**
 * The quote that the last boot left: of those in the two places the one over most records.
 *
 * **Trust**: a place is the host's. What does not parse or does not fit is passed over, so that it
 * stops no boot.
 * @param fits whether a quote's trees are trees of this log
 */
export async function findQuote(
  disk: LogDisk,
  fits: (boot: QuotedBoot) => Promise<boolean>,
): Promise<{ readonly found: FoundQuote | undefined; readonly unfit: number }> {
  let found: FoundQuote | undefined;
  let unfit = 0;
  for (const [place, kept] of (await disk.quotes()).entries()) {
    if (kept instanceof DecodeError) {
      if (kept.code !== 'magic') unfit++;
      continue;
    }
    const boot = bootOf(kept);
    if (boot === undefined || !(await fits(boot))) unfit++;
    else if (boot.checkpoint.size > (found?.boot.checkpoint.size ?? -1)) found = { ...kept, place, boot };
  }
  return { found, unfit };
}

function bootOf({ quote }: KeptQuote): QuotedBoot | undefined {
  try {
    return quotedBoot(quote);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/** Writes bytes at an offset of the disk. */
type WriteAt = (data: Uint8Array, at: number) => Promise<void>;

/**
 * Keeps the newest quote. The two places take turns, so that one is whole after a crash while the
 * other was written.
 */
export class KeptQuotes {
  readonly #disk: LogDisk;
  readonly #write: WriteAt;
  readonly #before: () => number;
  #place: number;
  #waiting: Uint8Array | undefined;
  #running: Promise<void> | undefined;

  /**
   * @param place the one that is written first
   * @param before position of the block with the last quote of an earlier boot; 0 if there is none
   */
  constructor(disk: LogDisk, write: WriteAt, place: number, before: () => number) {
    this.#disk = disk;
    this.#write = write;
    this.#place = place;
    this.#before = before;
  }

  /** Bytes that a quote may have. */
  get most(): number {
    return maxQuoteBytes(this.#disk.layout);
  }

  /**
   * Keeps a quote, or a newer one that came while another was written.
   *
   * **Cost**: one write at a time, however many quotes there are.
   * @returns whether it could be kept
   */
  async keep(quote: Uint8Array): Promise<boolean> {
    if (quote.length > this.most) return false;
    this.#waiting = quote;
    this.#running ??= this.#run();
    try {
      await this.#running;
      return true;
    } catch {
      return false;
    }
  }

  async #run(): Promise<void> {
    try {
      for (let quote = this.#waiting; quote !== undefined; quote = this.#waiting) {
        this.#waiting = undefined;
        const bytes = encodeKeptQuote({ before: this.#before(), quote });
        const whole = new Uint8Array(Math.ceil(bytes.length / SECTOR_BYTES) * SECTOR_BYTES);
        whole.set(bytes);
        const { base, length } = this.#disk.layout.quotes;
        await this.#write(whole, base + this.#place * length);
        this.#place = 1 - this.#place;
      }
    } finally {
      this.#running = undefined;
    }
  }
}
