/**
 * Turns of the Log service. Its work is done piece by piece, one piece in a turn of the event loop,
 * and each connection has its turn after every other.
 *
 * **Bound**: without this, a client that asks for a hundred tiles at once would keep the processor
 * and the disk from every call that arrived after them.
 */

import { setImmediate as nextTurn } from 'node:timers/promises';
import { LogRefusal } from './log-refusal.ts';

/** Pieces of work of one connection that may wait for their turn. */
export const MAX_WAITING_LOG_REQUESTS = 64;
/** The same of all connections. */
export const MAX_WAITING_LOG_REQUESTS_IN_ALL = 4096;

/** Pieces of work that wait for their turn. */
export class LogTurns {
  /** By connection, in the order of whose turn is next. */
  readonly #waiting = new Map<string, (() => Promise<void>)[]>();
  #count = 0;
  #isRunning = false;

  /**
   * Does a piece of work in its turn, and resolves with its result.
   *
   * @throws LogRefusal `busy`; and what `work` throws
   */
  take<T>(connection: string, work: () => Promise<T>): Promise<T> {
    // layer: turns of connections (off: 'all')
    const whose = connection;
    const own = this.#waiting.get(whose) ?? [];
    if (own.length >= MAX_WAITING_LOG_REQUESTS || this.#count >= MAX_WAITING_LOG_REQUESTS_IN_ALL)
      return Promise.reject(new LogRefusal('busy', 'too many requests of the log wait already'));
    const { promise, resolve } = Promise.withResolvers<T>();
    own.push(async () => {
      const done = work();
      resolve(done);
      await done;
    });
    this.#waiting.set(whose, own);
    this.#count++;
    if (!this.#isRunning) void this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // A connection that had its turn goes behind all that wait.
    for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
      const [connection, own] = next;
      const work = own.shift();
      this.#waiting.delete(connection);
      if (own.length > 0) this.#waiting.set(connection, own);
      this.#count--;
      await work?.().catch(() => {}); // its caller is told
      // layer: one piece of work a turn
      await nextTurn();
    }
    this.#isRunning = false;
  }
}
