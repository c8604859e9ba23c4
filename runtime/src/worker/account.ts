/**
 * The account of a worker: what its calls used, held against what they declared and, for the whole process, against the kernel.
 * Calls of one worker share a heap and a thread, so a sum that is exceeded says of one call alone what it did, and of several
 * only that one of them did it: then the worker ends, and its calls run again by themselves (pool.ts).
 */

import { RefusalError } from '../errors.ts';
import type { CallBudget } from '../governor/resources.ts';
import type { FromWorker } from './protocol.ts';

/** A worker's report. **Trust**: none; its calls may be wrongly charged by code that left its realm, the sum may not be. */
export type UsageReport = Extract<FromWorker, { readonly kind: 'used' }>;

interface OpenCall {
  readonly budget: CallBudget;
  readonly stop: (refusal: RefusalError) => void;
  used: number;
}

/** Microseconds by which the kernel's count may be ahead: it counts in ticks, and the engine's threads work on after a turn. */
const AHEAD = 100_000;
/** Bytes that the engine takes for itself as it warms up: code, and what it learns of it. */
const WARMTH = 8 * 1024 * 1024;

/** Milliseconds between two collections that are asked for: one stops everybody in the worker. */
const COLLECT_MS = 100;

/** What a report leads to. */
export type AccountVerdict = 'fine' | 'collect' | 'exceeded';

/** One worker's account. */
export class Account {
  readonly #kernel: () => number;
  readonly #open = new Map<number, OpenCall>();
  /** Microseconds that the kernel counted before the worker's own count began, and heap before the first call. */
  #start: { readonly before: number; readonly heap: number } | undefined;
  #total = 0;
  #asked = Number.NEGATIVE_INFINITY;

  /** @param kernel microseconds of processor that the process has used, by the kernel's count */
  constructor(kernel: () => number) {
    this.#kernel = kernel;
  }

  /** Whether the worker has reported before it has calls. */
  get opened(): boolean {
    return this.#start !== undefined;
  }

  /** A call begins. @param stop ends it */
  open(call: number, budget: CallBudget, stop: (refusal: RefusalError) => void): void {
    this.#open.set(call, { budget, stop, used: 0 });
  }

  close(call: number): void {
    this.#open.delete(call);
  }

  /** Takes a report, and stops calls that are over their budget. @throws RangeError where it takes something back */
  take({ total, heap, collected, calls }: UsageReport): AccountVerdict {
    if (total < this.#total) throw new RangeError('a report of less than before');
    this.#total = total;
    this.#start ??= { before: this.#kernel() - total, heap };
    for (const [id, used] of calls) this.#charge(id, used);
    const declared = [...this.#open.values()].reduce((sum, { budget }) => sum + budget.memory, 0);
    if (heap - this.#start.heap <= declared + WARMTH) return 'fine';
    if (collected) {
      const only = this.#only();
      if (only === undefined) return 'exceeded';
      only.stop(over('memory', only.budget));
      return 'fine'; // what it held is garbage now
    }
    if (performance.now() - this.#asked < COLLECT_MS) return 'fine';
    this.#asked = performance.now();
    return 'collect';
  }

  /** Whether the process has worked for longer, unreported, than any of its calls may: its loop stands still, or it lies. */
  exceeded(): boolean {
    if (this.#start === undefined) return false;
    const unreported = this.#kernel() - this.#start.before - this.#total;
    const most = Math.max(0, ...[...this.#open.values()].map(({ budget, used }) => budget.processor - used));
    if (unreported <= most + AHEAD) return false;
    const only = this.#only();
    only?.stop(over('cpu', only.budget));
    return true;
  }

  #charge(id: number, used: number): void {
    const call = this.#open.get(id);
    if (call === undefined) return;
    call.used += used;
    if (call.used > call.budget.processor) call.stop(over('cpu', call.budget));
  }

  #only(): OpenCall | undefined {
    const [first, second] = this.#open.values();
    return second === undefined ? first : undefined;
  }
}

/** How far over is not said: a handler would choose the number. */
function over(what: 'cpu' | 'memory', { pointer, processor, memory }: CallBudget): RefusalError {
  const limit = what === 'cpu' ? `${processor / 1000} ms of processor` : `${memory / 1024} KiB of memory`;
  return new RefusalError('budget', `the call used more than the ${limit} it declares`, {
    pointer: `${pointer}/${what}`,
  });
}
