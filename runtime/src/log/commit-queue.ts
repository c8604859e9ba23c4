/** Commits: records that arrive while one write runs go into the next. */

import { ENTRY_PREFIX_BYTES } from '@enclaim/attestation/log-disk';

/** A record that waits for its write. */
export interface Waiting {
  /** The entry's text, label included. */
  readonly text: string;
  /** Bytes of it as UTF-8. */
  readonly length: number;
  /** Its leaf hash, hexadecimal. */
  readonly hash: string;
}

/** Records of one write. */
export interface Batch {
  readonly records: Waiting[];
  /** Bytes of the entries, each with its length before it. */
  bytes: number;
  readonly done: PromiseWithResolvers<void>;
}

/**
 * Has batches performed, one at a time, in the order in which their records came: at once where
 * nothing is being written, else when that has ended.
 */
export class CommitQueue {
  readonly #perform: (batch: Batch | undefined) => Promise<void>;
  /** Bytes of entries in a batch, at most. */
  readonly most: number;
  readonly #batches: Batch[] = [];
  #running = false;
  #woken = false;
  #waiting = 0;

  /**
   * @param perform writes a batch, and does what is due anyway; its error is that of the batch
   * @param most bytes of entries in a batch, of which one entry may have all but its prefix
   */
  constructor(perform: (batch: Batch | undefined) => Promise<void>, most: number) {
    this.#perform = perform;
    this.most = most;
  }

  /** Records that wait or are being written. */
  get waiting(): number {
    return this.#waiting;
  }

  /** By how much a record would make `weigh` of all batches' bytes more. */
  growth(length: number, weigh: (bytes: number) => number): number {
    const last = this.#last;
    const more = ENTRY_PREFIX_BYTES + length;
    return last === undefined || last.bytes + more > this.most
      ? weigh(more)
      : weigh(last.bytes + more) - weigh(last.bytes);
  }

  /**
   * Gives a record its place in the last batch that waits, or in a new one.
   *
   * **Cost**: records of a batch share its promise.
   *
   * @returns what settles with the batch's write
   */
  place(record: Waiting): Promise<void> {
    const more = ENTRY_PREFIX_BYTES + record.length;
    let batch = this.#last;
    if (batch === undefined || batch.bytes + more > this.most) {
      batch = begun();
      this.#batches.push(batch);
    }
    batch.records.push(record);
    batch.bytes += more;
    this.#waiting++;
    this.#run();
    return batch.done.promise;
  }

  /** Has done what is due, also where no record waits. */
  wake(): void {
    this.#woken = true;
    this.#run();
  }

  get #last(): Batch | undefined {
    return this.#batches.at(-1);
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => void this.#work()); // so that all of one tick are one batch
  }

  async #work(): Promise<void> {
    while (this.#batches.length > 0 || this.#woken) {
      this.#woken = false;
      const batch = this.#batches.shift();
      try {
        await this.#perform(batch);
        batch?.done.resolve();
      } catch (error) {
        batch?.done.reject(error);
      }
      this.#waiting -= batch?.records.length ?? 0;
    }
    this.#running = false;
  }
}

function begun(): Batch {
  const done = Promise.withResolvers<void>();
  // A record whose durability is of no interest to anyone must not end the process.
  done.promise.catch(() => {});
  return { records: [], bytes: 0, done };
}
