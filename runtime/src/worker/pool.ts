/** The pool of worker processes: hands out calls, replaces workers that die, and runs again what they took with them. */

import { RefusalError } from '../errors.ts';
import { reasonOf, whileItLasts } from './call-end.ts';
import type { Json } from './protocol.ts';
import { type Call, type HandlerBundle, Worker, type WorkerFactory, WorkerLostError } from './worker.ts';

/** Calls that one worker may have at once. */
const MOST_RUNNING = 64;
/** Workers that may die under one call that runs alone: from outside, as far as anybody can tell. */
const MOST_LOST = 2;
/** Failed starts in a row after which the pool gives a worker up. */
const MOST_FAILED_STARTS = 3;

/** How a pool is run. */
export interface PoolOptions {
  readonly factory: WorkerFactory;
  readonly size: number;
  /** Milliseconds within which a worker that has calls must turn its loop; else it is ended. */
  readonly stall?: number;
  /** Told of every worker that ended on its own account. */
  readonly onLost?: (reason: string) => void;
}

/** A fixed number of workers, replaced as they die, and one more where calls run alone after their worker died. */
export class WorkerPool {
  readonly #options: PoolOptions;
  readonly #bundle: HandlerBundle;
  readonly #workers = new Set<Worker>();
  #lone: Worker | undefined;
  #alone: Promise<unknown> = Promise.resolve();
  #nextCall = 0;
  #closed = false;

  private constructor(options: PoolOptions, bundle: HandlerBundle) {
    this.#options = options;
    this.#bundle = bundle;
  }

  /** Starts the workers and resolves once all of them have loaded the bundle. @throws RefusalError `worker`, with text of theirs */
  static async start(options: PoolOptions, bundle: HandlerBundle): Promise<WorkerPool> {
    const pool = new WorkerPool(options, bundle);
    try {
      await Promise.all(Array.from({ length: options.size }, () => pool.#add()));
    } catch (error) {
      pool.close();
      throw error;
    }
    return pool;
  }

  /** Number of calls under way. */
  get calls(): number {
    return [...this.#workers].reduce((sum, { calls }) => sum + calls, this.#lone?.calls ?? 0);
  }

  /**
   * Runs a handler. A call whose worker dies before the call has done anything runs again, by itself: so it is the call that
   * kills workers, and no other, that fails.
   * @throws RefusalError `budget` where all workers are full; `worker` where the handler threw or its worker died
   */
  async run(call: Call): Promise<Json> {
    const worker = this.#freest();
    if (worker !== undefined && worker.calls >= MOST_RUNNING) throw new RefusalError('budget', 'no worker is free');
    try {
      if (worker !== undefined) return await worker.run(this.#nextCall++, call);
    } catch (error) {
      if (!(error instanceof WorkerLostError) || call.signal.aborted) throw error;
    }
    const turn = this.#alone.then(() => this.#runAlone(call));
    this.#alone = turn.catch(() => {});
    return whileItLasts(call.signal, turn);
  }

  /** Ends all workers. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#workers) worker.end('the pool was closed');
    this.#lone?.end('the pool was closed');
  }

  #freest(): Worker | undefined {
    let best: Worker | undefined;
    for (const worker of this.#workers) if (best === undefined || worker.calls < best.calls) best = worker;
    return best;
  }

  async #runAlone(call: Call, lost = 1): Promise<Json> {
    if (this.#closed || call.signal.aborted) throw reasonOf(call.signal);
    if (this.#lone === undefined || this.#lone.over) {
      this.#lone = await this.#start().catch((cause) => {
        // What a worker says of its start is no text for callers.
        throw new RefusalError('worker', 'no worker could be started', { cause });
      });
    }
    return this.#lone.run(this.#nextCall++, call).catch((error) => {
      if (!(error instanceof WorkerLostError) || error.judged || lost >= MOST_LOST) throw error;
      return this.#runAlone(call, lost + 1);
    });
  }

  async #start(): Promise<Worker> {
    const worker = new Worker(await this.#options.factory(), this.#options.stall ?? 2000);
    await worker.load(this.#bundle);
    if (this.#closed) worker.end('the pool was closed');
    else void worker.ended.then((reason) => this.#closed || this.#options.onLost?.(reason));
    return worker;
  }

  async #add(): Promise<void> {
    const worker = await this.#start();
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
        // The next turn of the loop tries again; with no worker left, calls run one by one or are refused.
      }
    }
  }
}
