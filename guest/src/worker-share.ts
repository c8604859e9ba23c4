/** A worker's share of the VM: what the supervisor gives it, and what a policy's budgets are held against. */

import type { Capacity } from '@enclaim/runtime';
import type { CgroupLimits } from './linux/cgroup.ts';

/** A worker's share of the VM, of which its heap is the larger part. It may not starve the runtime of either. */
export const WORKER_LIMITS: CgroupLimits = { memory: 384 * 1024 * 1024, cpu: 100, tasks: 32 };
/** MiB. */
export const WORKER_HEAP = 256;

/** What handlers have of so many workers together. */
export function capacityOf(workers: number): Capacity {
  return { memory: workers * WORKER_HEAP * 1024 * 1024, processors: (workers * WORKER_LIMITS.cpu) / 100 };
}

/** What handlers have on every machine, and what one call can use on any: it runs in one worker. */
export const ONE_WORKER: Capacity = capacityOf(1);
