/** The pool of worker processes: hands out calls and replaces workers that die. */

import { RefusalError } from '../errors.ts';
import type { Json } from './protocol.ts';
import { type Call, type HandlerBundle, Worker, type WorkerFactory } from './worker.ts';

/** Calls that one worker may have at once. */
const MOST_RUNNING = 64;
/** Failed starts in a row after which the pool gives a worker up. */
const MOST_FAILED_STARTS = 3;

/** A fixed number of workers, replaced as they die. */
export class WorkerPool {
  readonly #factory: WorkerFactory;
  readonly #bundle: HandlerBundle;
  readonly #workers = new Set<Worker>();
  #nextCall = 0;
  #closed = false;

  private constructor(factory: WorkerFactory, bundle: HandlerBundle) {
    this.#factory = factory;
    this.#bundle = bundle;
  }

  /** Starts `size` workers and resolves once all of them have loaded the bundle. @throws RefusalError `worker` */
  static async start(factory: WorkerFactory, bundle: HandlerBundle, size: number): Promise<WorkerPool> {
    const pool = new WorkerPool(factory, bundle);
    try {
      await Promise.all(Array.from({ length: size }, () => pool.#add()));
    } catch (error) {
      pool.close();
      throw error;
    }
    return pool;
  }

  /**
   * Runs a handler. A call whose signal aborts takes its worker with it: nothing else ends a handler for certain.
   * @throws RefusalError `budget` where all workers are full; `worker` where the handler threw or its worker died
   */
  run(call: Call): Promise<Json> {
    let best: Worker | undefined;
    for (const worker of this.#workers) if (best === undefined || worker.calls < best.calls) best = worker;
    if (best === undefined || best.calls >= MOST_RUNNING) {
      return Promise.reject(new RefusalError('budget', 'no worker is free'));
    }
    return best.run(this.#nextCall++, call);
  }

  /** Ends all workers. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#workers) worker.end('the pool was closed');
  }

  async #add(): Promise<void> {
    const worker = new Worker(await this.#factory());
    await worker.load(this.#bundle);
    if (this.#closed) worker.end('the pool was closed');
    this.#workers.add(worker);
    void worker.ended.then(() => {
      this.#workers.delete(worker);
      if (!this.#closed) void this.#replace();
    });
  }

  async #replace(): Promise<void> {
    for (let failed = 0; failed < MOST_FAILED_STARTS && !this.#closed; failed++) {
      try {
        await this.#add();
        return;
      } catch {
        // The next turn of the loop tries again; with no worker left, every call is refused.
      }
    }
  }
}
