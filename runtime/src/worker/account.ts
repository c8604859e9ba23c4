/**
 * The account of a worker: what its calls used, held against what they declared and, for the whole process, against the kernel.
 * Calls of one worker share a heap and a thread, so a sum that is exceeded says of one call alone what it did, and of several
 * only that one of them did it: then the worker ends, and its calls run again by themselves (pool.ts).
 */

import { RefusalError } from '../errors.ts';
import type { CallBudget } from '../governor/call-budget.ts';
import type { FromWorker } from './protocol.ts';

/**
 * A worker's report. **Trust**: none. Code that left its realm may charge other calls of its worker; what it charges to nobody
 * counts as work unseen.
 */
export type UsageReport = Extract<FromWorker, { readonly kind: 'used' }>;

/** The start of a worker. Times are microseconds of processor. */
interface Start {
  /** What the kernel counted before the worker's own count began: at most, and less than nothing where that began first. */
  before: number;
  /** By how much `before` may still be found too large. */
  mayBeLate: number;
  /** What the kernel counted until it was loaded, and its heap by then. */
  readonly loaded: number;
  readonly heap: number;
}

interface OpenCall {
  readonly budget: CallBudget;
  readonly stop: (refusal: RefusalError) => void;
  used: number;
}

/**
 * Microseconds by which the kernel's count may be ahead: it counts in ticks, and the engine's threads work on after a turn. Or
 * what it cost to start the worker, where that is more: a slow machine takes longer for all of it.
 */
const AHEAD = 100_000;
/** The part of the time that a worker may work in nobody's name: it answers pings, lets garbage go, compiles. */
const NOBODYS_SHARE = 1 / 4;
/** Instances of the bundle that are ready (inside.ts): made in nobody's name until calls get them. */
const MOST_READY = 8;
/** Bytes that the engine takes for itself as it warms up: code, and what it learns of it. */
const WARMTH = 8 * 1024 * 1024;

/** Milliseconds between two collections that are asked for: one stops everybody in the worker. */
const COLLECT_MS = 100;
/** And the time without after each, as a multiple of what it cost: they take less than a quarter of the time. */
const COLLECT_SPACING = 4;
/** Microseconds that one may cost: some, and two milliseconds for each MiB that calls declare (the engine takes about one). */
const COLLECTION = 100_000;
const COLLECTION_PER_BYTE = 1 / 512;

/** What a report leads to. */
export type AccountVerdict = 'fine' | 'collect' | 'exceeded';

/** One worker's account. */
export class Account {
  readonly #kernel: () => number;
  readonly #open = new Map<number, OpenCall>();
  readonly #clock: () => number;
  /** Calls that ended since the last audit, and before it: their last work is reported after them. */
  #gone = new Map<number, OpenCall>();
  #goneBefore = new Map<number, OpenCall>();
  #start: Start | undefined;
  #total = 0;
  /** The last audit: microseconds worked until then, and when it was. */
  #audited = { worked: 0, at: 0 };
  /** Microseconds charged to calls since then, and worked by then in excess of what was charged. */
  #charged = 0;
  #unseen = 0;
  /** Microseconds that the largest call so far declared. */
  #largest = 0;
  /** Microseconds that the collection may cost that was asked for and is not reported yet. */
  #collection: number | undefined;
  /** When the next one may be asked for. */
  #nextCollection = Number.NEGATIVE_INFINITY;

  /**
   * @param kernel microseconds of processor that the process has used, by the kernel's count
   * @param clock milliseconds
   */
  constructor(kernel: () => number, clock: () => number = () => performance.now()) {
    this.#kernel = kernel;
    this.#clock = clock;
  }

  /** Whether the worker has reported before it has calls. */
  get opened(): boolean {
    return this.#start !== undefined;
  }

  /** A call begins. @param stop ends it */
  open(call: number, budget: CallBudget, stop: (refusal: RefusalError) => void): void {
    this.#open.set(call, { budget, stop, used: 0 });
    this.#largest = Math.max(this.#largest, budget.processor);
  }

  close(call: number): void {
    const closed = this.#open.get(call);
    if (closed === undefined) return;
    this.#open.delete(call);
    this.#gone.set(call, closed);
  }

  /** Takes a report, and stops calls that are over their budget. @throws RangeError where it takes something back */
  take({ total, heap, collected, calls }: UsageReport): AccountVerdict {
    if (total < this.#total) throw new RangeError('a report of less than before');
    const worked = total - this.#total;
    this.#total = total;
    this.#start ??= this.#begin(total, heap);
    const charged = this.#charged;
    for (const [id, used] of calls) this.#charge(id, used);
    if (collected) this.#excuse(Math.max(0, worked - (this.#charged - charged)));
    const declared = [...this.#open.values()].reduce((sum, { budget }) => sum + budget.memory, 0);
    if (heap - this.#start.heap <= declared + WARMTH) return 'fine';
    if (collected) {
      const only = this.#only();
      if (only === undefined) return 'exceeded';
      only.stop(exceeding('memory', only.budget));
      return 'fine'; // what it held is garbage now
    }
    const now = this.#clock();
    if (this.#collection !== undefined || now < this.#nextCollection) return 'fine';
    this.#collection = COLLECTION + declared * COLLECTION_PER_BYTE;
    this.#nextCollection = now + COLLECT_MS;
    return 'collect';
  }

  /**
   * An audit. Whether the process has worked for longer, unreported or uncharged, than any of its calls may: its loop stands
   * still, or it lies. A worker that reports more than it has worked lies too.
   */
  exceeded(): boolean {
    if (this.#start === undefined) return false;
    const kernel = this.#kernel();
    this.#correct(this.#start, kernel);
    const worked = kernel - this.#start.before;
    const unreported = worked - this.#total;
    const ahead = Math.max(AHEAD, this.#start.loaded);
    if (-unreported > AHEAD) return true;
    this.#settle(worked);
    const over = Math.max(unreported, this.#unseen - this.#readyAllowance());
    const most = Math.max(0, ...[...this.#open.values()].map(left));
    if (over <= most + ahead + (this.#collection ?? 0)) return false;
    const only = this.#only();
    only?.stop(exceeding('cpu', only.budget));
    return true;
  }

  #begin(total: number, heap: number): Start {
    const loaded = this.#kernel();
    this.#audited = { worked: total, at: this.#clock() };
    return { before: loaded - total, mayBeLate: loaded, loaded, heap };
  }

  /**
   * The first report was older than the kernel's count beside it by what the worker did in between: on a slow machine more than
   * a worker's reports may be ahead. **Trust**: a worker may have it corrected by a lie, and so lie by what its start cost.
   */
  #correct(start: Start, kernel: number): void {
    const late = Math.min(start.before - (kernel - this.#total), start.mayBeLate);
    if (late <= 0) return;
    start.mayBeLate -= late;
    start.before -= late;
    this.#audited.worked += late;
  }

  /** Adds what was worked since the last audit to what nobody is charged for. Charges for work to come are not kept. */
  #settle(worked: number): void {
    const at = this.#clock();
    const nobodys = (at - this.#audited.at) * 1000 * NOBODYS_SHARE;
    this.#unseen = Math.max(0, this.#unseen + worked - this.#audited.worked - this.#charged - nobodys);
    this.#audited = { worked, at };
    this.#charged = 0;
    this.#goneBefore = this.#gone;
    this.#gone = new Map();
  }

  /**
   * A collection that was asked for is over: what it cost is no call's, and not unseen. **Trust**: a worker may say so of other
   * work, so each has a limit, and a costlier one is followed by a longer time without.
   */
  #excuse(cost: number): void {
    if (this.#collection === undefined) return;
    this.#charged += Math.min(cost, this.#collection);
    this.#collection = undefined;
    this.#nextCollection = Math.max(this.#nextCollection, this.#clock() + (COLLECT_SPACING * cost) / 1000);
  }

  /** Microseconds that ready instances may have cost: no more than loading did, nor than calls could be charged for them. */
  #readyAllowance(): number {
    return Math.min(this.#start?.loaded ?? 0, MOST_READY * this.#largest);
  }

  /** A call that is over its budget has been stopped for it; one that has ended is charged no more than it had left. */
  #charge(id: number, used: number): void {
    const open = this.#open.get(id);
    const call = open ?? this.#gone.get(id) ?? this.#goneBefore.get(id);
    if (call === undefined) return;
    this.#charged += open === undefined ? Math.min(used, left(call)) : used;
    call.used += used;
    if (call.used > call.budget.processor) open?.stop(exceeding('cpu', call.budget));
  }

  #only(): OpenCall | undefined {
    const [first, second] = this.#open.values();
    return second === undefined ? first : undefined;
  }
}

/** Microseconds that a call may still use. */
function left({ budget, used }: OpenCall): number {
  return Math.max(0, budget.processor - used);
}

/** How far over is not said: a handler would choose the number. */
function exceeding(what: 'cpu' | 'memory', { pointer, processor, memory }: CallBudget): RefusalError {
  const limit = what === 'cpu' ? `${processor / 1000} ms of processor` : `${memory / 1024} KiB of memory`;
  return new RefusalError('budget', `the call used more than the ${limit} it declares`, {
    pointer: `${pointer}/${what}`,
  });
}
