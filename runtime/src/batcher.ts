/** Batches: items that arrive during one batch are performed together in the next. */

import { RefusalError } from './errors.ts';

/** An item that has its place in a batch. */
export interface Batched<R> {
  /** Results of the whole batch, or the error of performing it. All items of a batch share it. */
  readonly batch: Promise<readonly R[]>;
  /** Place of the item, and of its result. */
  readonly index: number;
}

interface Batch<T, R> {
  readonly items: T[];
  readonly done: PromiseWithResolvers<readonly R[]>;
}

/**
 * Performs items in batches, one batch at a time, in the order in which they came. A batch that
 * fails rejects only its own items.
 */
export class Batcher<T, R> {
  readonly #perform: (items: readonly T[]) => Promise<readonly R[]> | readonly R[];
  readonly #most: number;
  #waiting: Batch<T, R> | undefined;
  #running = false;

  /**
   * @param perform results of a batch, one for each item, in order
   * @param most items that may wait
   */
  constructor(perform: (items: readonly T[]) => Promise<readonly R[]> | readonly R[], most: number) {
    this.#perform = perform;
    this.#most = most;
  }

  /** Items that wait for the next batch. */
  get waiting(): number {
    return this.#waiting?.items.length ?? 0;
  }

  /** Whether another item would be refused. */
  get full(): boolean {
    return this.waiting >= this.#most;
  }

  /**
   * Gives an item its place in the next batch.
   *
   * **Cost**: a promise for each item would cost as much as most items.
   *
   * @throws RefusalError `budget` if too many items wait
   */
  place(item: T): Batched<R> {
    if (this.full) throw new RefusalError('budget', `${this.#most} others are already waiting`);
    this.#waiting ??= begun();
    const { items, done } = this.#waiting;
    const index = items.push(item) - 1;
    if (!this.#running) {
      this.#running = true;
      setImmediate(() => void this.#run()); // so that all of one tick are one batch
    }
    return { batch: done.promise, index };
  }

  /**
   * The item's result.
   *
   * @throws RefusalError `budget` if too many items wait; any error of performing its batch
   */
  async add(item: T): Promise<R> {
    return resultOf(this.place(item));
  }

  async #run(): Promise<void> {
    for (let batch = this.#waiting; batch !== undefined; batch = this.#waiting) {
      this.#waiting = undefined;
      const { items, done } = batch;
      try {
        const made = this.#perform(items);
        done.resolve(made instanceof Promise ? await made : made);
      } catch (error) {
        done.reject(error);
      }
    }
    this.#running = false;
  }
}

/** The result of one item. */
export async function resultOf<R>({ batch, index }: Batched<R>): Promise<R> {
  return (await batch)[index] as R;
}

function begun<T, R>(): Batch<T, R> {
  const done = Promise.withResolvers<readonly R[]>();
  // An item whose result is of no interest to anyone must not end the process.
  done.promise.catch(() => {});
  return { items: [], done };
}
