/**
 * The workers of all classes: one pool for each class, so that methods that may not share a process
 * never do.
 */

import type { MethodId, WorkerClass } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Capacity, WorkerShare } from '../governor/resources.ts';
import type { Call } from './call.ts';
import { type PoolOptions, WorkerPool } from './pool.ts';
import type { Made } from './protocol.ts';
import type { HandlerBundle } from './worker.ts';

/** Runs each call in a worker of its method's class. */
export class WorkerClasses {
  readonly #pools: ReadonlyMap<string, WorkerPool>;

  private constructor(pools: ReadonlyMap<string, WorkerPool>) {
    this.#pools = pools;
  }

  /**
   * Starts the workers of one class after the other. On a slow machine, starting all at once would
   * take too long for each. `size` is the number of workers in all, divided as
   * {@link workerNumbers} says.
   *
   * @throws RefusalError `worker`, whose text comes from a worker
   */
  static async start(
    options: PoolOptions,
    bundle: Omit<HandlerBundle, 'methods'>,
    classes: readonly WorkerClass[],
  ): Promise<WorkerClasses> {
    const numbers = workerNumbers(classes.length, options.size);
    const pools = new Map<MethodId, WorkerPool>();
    const started = new WorkerClasses(pools);
    try {
      for (const [at, { methods }] of classes.entries()) {
        const pool = await WorkerPool.start({ ...options, size: numbers[at] ?? 1 }, { ...bundle, methods });
        for (const method of methods) pools.set(method, pool);
      }
    } catch (error) {
      started.close();
      throw error;
    }
    return started;
  }

  /** Number of calls under way. */
  get calls(): number {
    return this.#each.reduce((sum, { calls }) => sum + calls, 0);
  }

  /**
   * Runs a handler, as {@link WorkerPool.run} does.
   *
   * @throws RefusalError as there; `worker` for a method of no class
   */
  run(call: Call): Promise<Made> {
    const pool = this.#pools.get(call.message.grants.method);
    return pool?.run(call) ?? Promise.reject(new RefusalError('worker', 'no worker has the method'));
  }

  /** Ends all workers. */
  close(): void {
    for (const pool of this.#each) pool.close();
  }

  get #each(): WorkerPool[] {
    return [...new Set(this.#pools.values())];
  }
}

/**
 * Workers of each class: as many for each as for any other, what is left over for the first ones,
 * and at least one.
 */
function workerNumbers(classes: number, size: number): number[] {
  const [each, over] = [Math.floor(size / classes), size % classes];
  return Array.from({ length: classes }, (_, at) => Math.max(1, at < over ? each + 1 : each));
}

/** The methods of each class, with the resources of the workers that it has. */
export function workerShares(
  classes: readonly WorkerClass[],
  { size, capacity }: { readonly size: number; readonly capacity: Capacity },
): WorkerShare[] {
  const numbers = workerNumbers(classes.length, size);
  return classes.map(({ methods }, at) => {
    const part = (numbers[at] ?? 1) / size;
    const memory = Math.floor(capacity.memory * part);
    return { methods, capacity: { memory, processors: capacity.processors * part } };
  });
}
