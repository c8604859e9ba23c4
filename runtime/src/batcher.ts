/** Batches: items that arrive during one batch are performed together in the next. */

import { RefusalError } from './errors.ts';

interface Waiting<T, R> {
  readonly item: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Performs items in batches, one batch at a time, in the order in which they came. A batch that
 * fails rejects only its own items.
 */
export class Batcher<T, R> {
  readonly #perform: (items: readonly T[]) => Promise<readonly R[]>;
  readonly #most: number;
  #waiting: Waiting<T, R>[] = [];
  #running = false;

  /**
   * @param perform results of a batch, one for each item, in order
   * @param most items that may wait
   */
  constructor(perform: (items: readonly T[]) => Promise<readonly R[]>, most: number) {
    this.#perform = perform;
    this.#most = most;
  }

  /** Whether another item would be refused. */
  get full(): boolean {
    return this.#waiting.length >= this.#most;
  }

  /**
   * The item's result.
   *
   * @throws RefusalError `budget` if too many items wait; any error of performing its batch
   */
  add(item: T): Promise<R> {
    if (this.full) {
      return Promise.reject(new RefusalError('budget', `${this.#most} others are already waiting`));
    }
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    this.#waiting.push({ item, resolve, reject });
    if (!this.#running) {
      this.#running = true;
      setImmediate(() => void this.#run()); // so that all of one tick are one batch
    }
    return promise;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        const results = await this.#perform(batch.map(({ item }) => item));
        for (const [index, { resolve }] of batch.entries()) resolve(results[index] as R);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = false;
  }
}
