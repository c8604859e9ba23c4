/** Meter: for which call a worker's one thread worked. The kernel's own count of the process is held against it outside. */

import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { FromWorker } from '../protocol.ts';

/** Whom nobody's time is charged to: what the worker does by itself. */
export const NOBODY = -1;
/** Microseconds that may go unreported while there are more messages to hear, and of work that is nobody's. */
const MOST_OWED = 10_000;
const MOST_NOBODYS = 1000;

/**
 * Code of a call runs only after a message for it, until the next message is heard: all that the process works in between is
 * that call's, what it says included. The bundle's evaluation ahead of time is charged to the call that gets the instance.
 */
export class Meter {
  readonly #collect: () => void;
  readonly #spent = new Map<number, number>();
  /** What instances cost that are ready, the oldest first; the realm hands out the newest. */
  readonly #ahead: number[] = [];
  #last = 0;
  #call = NOBODY;
  /** Numbers of calls only grow: one that is larger has just taken an instance. */
  #newest = NOBODY;
  #owed = 0;
  #reported = 0;

  constructor() {
    // No realm that is made later has this function.
    setFlagsFromString('--expose-gc');
    this.#collect = runInNewContext('gc') as () => void;
    setFlagsFromString('--no-expose-gc');
  }

  /** Charges the call that was heard last with what was worked since. */
  charge(): void {
    const worked = this.#sinceLast();
    if (this.#call !== NOBODY) this.#add(this.#call, worked);
  }

  /** All since the last charge is this call's. */
  heard(call: number): void {
    this.#call = call;
    if (call <= this.#newest) return;
    this.#newest = call;
    this.#add(call, this.#ahead.pop() ?? 0);
  }

  /** Whether so much was charged that it should be reported before more is heard. */
  get owes(): boolean {
    return this.#owed > MOST_OWED;
  }

  /** Whether there is something to report: what was charged, or that the process has worked for itself. */
  get due(): boolean {
    return this.#spent.size > 0 || this.#last - this.#reported > MOST_NOBODYS;
  }

  /** Notes what an instance cost that was made since the last charge. */
  prepared(): void {
    this.#ahead.push(this.#sinceLast());
  }

  /** What the kernel and the heap say, and what was charged since the last time. @param collected after garbage was let go */
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
