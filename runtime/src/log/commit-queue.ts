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

/** A part of a block, made as late as possible. */
export interface Carried {
  /** Bytes that it has. */
  readonly length: number;
  /** Its bytes. Called once, when its block is put together, in the order of blocks. */
  write(): Uint8Array;
  /**
   * Called once its block is durable.
   *
   * @param position of its first byte in the journal
   * @param block position of its block
   */
  landed(position: number, block: number): void;
}

/** Records of one write. */
export interface Batch {
  readonly records: Waiting[];
  /** Bytes of the entries, each with its length before it. */
  bytes: number;
  /** Bytes that parts of the block may have beside the entries. */
  extra: number;
  /** How many of these are not taken yet. */
  spare: number;
  readonly carried: Carried[];
  /** Whether it is being written: nothing is added to it any more. */
  begun: boolean;
  /** Work that is done in place of a write, while none runs. */
  readonly task?: () => Promise<void>;
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
  /** The batch that came last, until its write has ended. */
  #last: Batch | undefined;

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

  /** Settles with the write of the batch that came last; undefined if all are written. */
  get last(): Promise<void> | undefined {
    return this.#last?.done.promise;
  }

  /**
   * By how much so many bytes of a record, a part, or both would make `weigh` of all batches' bytes
   * more.
   */
  growth(more: number, weigh: (bytes: number) => number): number {
    const last = this.#roomy(more);
    return last === undefined ? weigh(more) : weigh(bytesOf(last) + more) - weigh(bytesOf(last));
  }

  /**
   * Gives a record its place in the last batch that waits, or in a new one.
   *
   * **Cost**: records of a batch share its promise.
   *
   * @param extra bytes of what it carries
   * @returns the batch, which settles with its write
   */
  place(record: Waiting, extra: number): Batch {
    const more = ENTRY_PREFIX_BYTES + record.length;
    let batch = this.#roomy(more + extra);
    batch ??= this.#added();
    batch.records.push(record);
    batch.bytes += more;
    batch.extra += extra;
    this.#waiting++;
    this.#run();
    return batch;
  }

  /** Gives a part its place in the last batch that waits, or in a new one, without a record. */
  placeLate(part: Carried, extra: number): Batch {
    let batch = this.#roomy(extra);
    batch ??= this.#added();
    batch.carried.push(part);
    batch.extra += extra;
    this.#run();
    return batch;
  }

  /** Does work while nothing is being written, after all that waits now. */
  async between<T>(task: () => Promise<T>): Promise<T> {
    const result = Promise.withResolvers<T>();
    const settled = async (): Promise<void> => {
      await task().then(result.resolve, result.reject);
    };
    this.#batches.push(begun(settled));
    this.#run();
    return result.promise;
  }

  /** Has done what is due, also where no record waits. */
  wake(): void {
    this.#woken = true;
    this.#run();
  }

  /** The last batch, if so many bytes fit into it. */
  #roomy(more: number): Batch | undefined {
    const last = this.#batches.at(-1);
    const fits = last !== undefined && last.task === undefined && bytesOf(last) + more <= this.most;
    return fits ? last : undefined;
  }

  #added(): Batch {
    const batch = begun();
    this.#batches.push(batch);
    this.#last = batch;
    return batch;
  }

  #run(): void {
    if (this.#running) return;
    this.#running = true;
    setImmediate(() => void this.#work()); // so that all of one tick are one batch
  }

  async #work(): Promise<void> {
    while (this.#batches.length > 0 || this.#woken) {
      const batch = this.#batches.shift();
      // Work in place of a write does nothing of what is due.
      if (batch?.task === undefined) this.#woken = false;
      if (batch !== undefined) batch.begun = true;
      try {
        await (batch?.task?.() ?? this.#perform(batch));
        batch?.done.resolve();
      } catch (error) {
        batch?.done.reject(error);
      }
      this.#waiting -= batch?.records.length ?? 0;
      if (this.#last === batch) this.#last = undefined;
    }
    this.#running = false;
  }
}

function bytesOf({ bytes, extra }: Batch): number {
  return bytes + extra;
}

function begun(task?: Batch['task']): Batch {
  const done = Promise.withResolvers<void>();
  // A record whose durability is of no interest to anyone must not end the process.
  done.promise.catch(() => {});
  const empty = { records: [], bytes: 0, extra: 0, spare: 0, carried: [], begun: false, done };
  return task === undefined ? empty : { ...empty, task };
}
