/**
 * A worker's share of the VM: what the supervisor gives it, and what a policy's budgets are held
 * against.
 */

import type { Capacity } from '@enclaim/runtime';
import type { CgroupLimits } from './linux/cgroup.ts';

/**
 * A worker's share of the VM, of which its heap is the larger part. It may not starve the runtime
 * of either.
 */
export const WORKER_LIMITS: CgroupLimits = { memory: 384 * 1024 * 1024, cpu: 100, tasks: 32 };
/** MiB. */
export const WORKER_HEAP = 256;

/** The capacity that handlers have in `workers` workers together. */
export function capacityOf(workers: number): Capacity {
  return { memory: workers * WORKER_HEAP * 1024 * 1024, processors: (workers * WORKER_LIMITS.cpu) / 100 };
}

/**
 * The capacity that handlers have on every machine, and that one call can use on any: a call runs
 * in one worker.
 */
export const ONE_WORKER: Capacity = capacityOf(1);
