/**
 * Meter: charges a worker's one thread to its calls. The runtime compares the sum to the kernel's
 * count of the process.
 */

import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { FromWorker } from '../protocol.ts';

/** Number in place of a call's, for work that the worker does by itself. */
export const NOBODY = -1;
/**
 * Microseconds that may go unreported while more messages are waiting, and microseconds of the
 * worker's own work that may go unreported.
 */
const MAX_UNREPORTED_US = 10_000;
const MAX_UNREPORTED_OWN_US = 1000;

/**
 * Charges work to calls. Code of a call runs only after a message for it and until the next message
 * is handled, so all work in between is that call's, its output included. The evaluation of a
 * bundle ahead of time is charged to the call that gets the instance.
 */
export class Meter {
  readonly #collect: () => void;
  readonly #spent = new Map<number, number>();
  /** Cost of each ready instance, the oldest first. The realm hands out the newest. */
  readonly #ahead: number[] = [];
  #last = 0;
  #call = NOBODY;
  /** Numbers of calls only grow: a larger one belongs to a call that just took an instance. */
  #newest = NOBODY;
  #owed = 0;
  #reported = 0;

  constructor() {
    // A realm that is made later does not have this function.
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }

  /** Charges the work since the last charge to the call of the last message. */
  charge(): void {
    const worked = this.#sinceLast();
    if (this.#call !== NOBODY) this.#add(this.#call, worked);
  }

  /** Names the call that all work from the last charge on belongs to. */
  heard(call: number): void {
    this.#call = call;
    if (call <= this.#newest) return;
    this.#newest = call;
    this.#add(call, this.#ahead.pop() ?? 0);
  }

  /** Whether so much was charged that it should be reported before the next message. */
  get owes(): boolean {
    return this.#owed > MAX_UNREPORTED_US;
  }

  /** Whether there is a report to make: calls were charged, or the process worked for itself. */
  get due(): boolean {
    return this.#spent.size > 0 || this.#last - this.#reported > MAX_UNREPORTED_OWN_US;
  }

  /** Notes the cost of an instance that was made since the last charge. */
  prepared(): void {
    this.#ahead.push(this.#sinceLast());
  }

  /**
   * The process's time and heap, and the charges since the last report.
   *
   * @param collected whether to collect garbage first
   */
  report(collected = false): FromWorker {
    if (collected) this.#collect();
    const { used_heap_size: inside, external_memory: outside } = getHeapStatistics();
    const calls = [...this.#spent];
    this.#spent.clear();
    this.#owed = 0;
    this.#reported = total();
    return { kind: 'used', total: this.#reported, heap: inside + outside, collected, calls };
  }

  #sinceLast(): number {
    const now = total();
    const worked = now - this.#last;
    this.#last = now;
    return worked;
  }

  #add(call: number, microseconds: number): void {
    this.#owed += microseconds;
    this.#spent.set(call, (this.#spent.get(call) ?? 0) + microseconds);
  }
}

/** Microseconds of processor that this process has used, all its threads together. */
function total(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
