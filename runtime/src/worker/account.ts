/**
 * The account of a worker: what its calls used, compared to what they declared and, for the whole
 * process, to the kernel's count.
 *
 * Calls of a worker share one heap and one thread. If the sum is exceeded while one call is open,
 * that call is stopped. If several are open, the culprit is unknown: the worker ends, and pool.ts
 * runs each call again alone.
 */

import { RefusalError } from '../errors.ts';
import type { CallBudget } from '../governor/call-budget.ts';
import { LiveMap } from '../live-map.ts';
import type { FromWorker } from './protocol.ts';

/**
 * A worker's report.
 *
 * **Trust**: none. Code that broke out of its realm may charge other calls of its worker; work that
 * it charges to no call counts as unseen.
 */
export type UsageReport = Extract<FromWorker, { readonly kind: 'used' }>;

/** The start of a worker. Times are microseconds of processor. */
interface Start {
  /**
   * The kernel's count before the worker's own count began. This is an upper bound. It is negative
   * if the worker's own count began first.
   */
  before: number;
  /** Microseconds by which `before` may still turn out to be too large. */
  mayBeLate: number;
  /** The kernel's count when the worker was loaded, and the size of its heap then. */
  readonly loaded: number;
  readonly heap: number;
}

interface OpenCall {
  readonly budget: CallBudget;
  readonly stop: (refusal: RefusalError) => void;
  used: number;
}

/**
 * Microseconds by which the kernel's count may be ahead: it counts in ticks, and the engine's
 * threads work on after a turn. The cost of the worker's start is allowed instead if that is more,
 * because a slow machine takes longer for all of it.
 */
const AHEAD = 100_000;
/**
 * Share of the time that a worker may work for no call: it answers pings, collects garbage and
 * compiles.
 */
const NOBODYS_SHARE = 1 / 4;
/**
 * Instances of the bundle that are ready (realm/bridge.ts). No call is charged for one until it
 * gets it.
 */
const MAX_READY_INSTANCES = 8;
/** Bytes that the engine takes for itself as it warms up: machine code and type feedback. */
const WARMTH = 8 * 1024 * 1024;

/**
 * Least milliseconds between two requested collections. A collection stops every call of the
 * worker.
 */
const COLLECT_MS = 100;
/**
 * Pause after a collection, as a multiple of what it cost. Collections then take less than a
 * quarter of the time.
 */
const COLLECT_SPACING = 4;
/**
 * Microseconds that a collection may cost: a fixed part, and two milliseconds for each MiB that
 * calls declare. The engine takes about one.
 */
const COLLECTION = 100_000;
const COLLECTION_PER_BYTE = 1 / 512;

const NOTHING = (): void => {};

/** The consequence of a report. */
export type AccountVerdict = 'fine' | 'collect' | 'exceeded';

/** One worker's account. */
export class Account {
  readonly #kernel: () => number;
  readonly #open = new LiveMap<number, OpenCall>();
  readonly #clock: () => number;
  /**
   * Calls that ended since the last audit, and before it. Their last work is reported after their
   * end.
   */
  #gone = new Map<number, OpenCall>();
  #goneBefore = new Map<number, OpenCall>();
  #start: Start | undefined;
  #total = 0;
  /** The last audit: its time, and the microseconds worked until then. */
  #audited = { worked: 0, at: 0 };
  /**
   * Microseconds charged to calls since the last audit; and microseconds worked by then beyond what
   * was charged.
   */
  #charged = 0;
  #unseen = 0;
  /** Microseconds that the largest call so far declared. */
  #largest = 0;
  /** Cost limit in microseconds of the collection that was requested and is not reported yet. */
  #collection: number | undefined;
  /** Time from which the next collection may be requested. */
  #nextCollection = Number.NEGATIVE_INFINITY;

  /**
   * @param kernel microseconds of processor that the process has used, by the kernel's count
   * @param clock milliseconds
   */
  constructor(kernel: () => number, clock: () => number = () => performance.now()) {
    this.#kernel = kernel;
    this.#clock = clock;
  }

  /** Whether the worker has reported at its start, before it has calls. */
  get opened(): boolean {
    return this.#start !== undefined;
  }

  /**
   * Opens the account of a call.
   *
   * @param stop ends the call
   */
  open(call: number, budget: CallBudget, stop: (refusal: RefusalError) => void): void {
    this.#open.set(call, { budget, stop, used: 0 });
    this.#largest = Math.max(this.#largest, budget.processor);
  }

  close(call: number): void {
    const closed = this.#open.get(call);
    if (closed === undefined) return;
    this.#open.delete(call);
    // Its last work may be reported yet. `stop` leads to all of the call, which would stay as long.
    this.#gone.set(call, { ...closed, stop: NOTHING });
  }

  /**
   * Takes a report, and stops calls that are over their budget.
   *
   * @throws RangeError if it reports less than an earlier one
   */
  take({ total, heap, collected, calls }: UsageReport): AccountVerdict {
    // layer: reports only grow
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
    // layer: sum of heap
    return 'collect';
  }

  /**
   * Audits the worker. Returns true if it must end; a single open call is stopped as the culprit
   * first.
   *
   * The audit fails if the process worked longer, unreported or uncharged, than any of its calls
   * may: its loop does not turn, or it lies. It also fails if the worker reports more than it
   * worked.
   */
  exceeded(): boolean {
    if (this.#start === undefined) return false;
    const kernel = this.#kernel();
    this.#correct(this.#start, kernel);
    const worked = kernel - this.#start.before;
    const unreported = worked - this.#total;
    const ahead = Math.max(AHEAD, this.#start.loaded);
    // layer: no report ahead of the kernel
    if (-unreported > AHEAD) return true;
    this.#settle(worked);
    // layer: work held against charges (off: unreported)
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
   * Corrects `before`. The kernel's count was read after the first report was made, and the worker
   * worked in between. On a slow machine this is more than a worker's reports may be ahead.
   *
   * **Trust**: a worker may obtain the correction by a lie, and so hide as much work as its start
   * cost.
   */
  #correct(start: Start, kernel: number): void {
    const late = Math.min(start.before - (kernel - this.#total), start.mayBeLate);
    if (late <= 0) return;
    start.mayBeLate -= late;
    start.before -= late;
    this.#audited.worked += late;
  }

  /**
   * Adds the work since the last audit that was charged to no call to the unseen work. Charges
   * beyond the work done are not kept.
   */
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
   * Ends a requested collection: its cost is charged to no call and is not unseen work.
   *
   * **Trust**: a worker may pass off other work as collection. So its cost has a limit, and a
   * costlier one is followed by a longer pause.
   */
  #excuse(cost: number): void {
    if (this.#collection === undefined) return;
    this.#charged += Math.min(cost, this.#collection);
    this.#collection = undefined;
    this.#nextCollection = Math.max(this.#nextCollection, this.#clock() + (COLLECT_SPACING * cost) / 1000);
  }

  /**
   * Microseconds that ready instances may have cost: at most what loading did, and what calls could
   * be charged for them.
   */
  #readyAllowance(): number {
    return Math.min(this.#start?.loaded ?? 0, MAX_READY_INSTANCES * this.#largest);
  }

  /**
   * Charges a call, and stops it if it is over its budget. A call that has ended is charged at most
   * what it had left.
   */
  #charge(id: number, used: number): void {
    const open = this.#open.get(id);
    const call = open ?? this.#gone.get(id) ?? this.#goneBefore.get(id);
    if (call === undefined) return;
    this.#charged += open === undefined ? Math.min(used, left(call)) : used;
    call.used += used;
    // layer: charge by call
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

/**
 * The refusal of a call over its budget.
 *
 * **Leak**: it does not say by how much, because the handler chooses that number.
 */
function exceeding(what: 'cpu' | 'memory', { pointer, processor, memory }: CallBudget): RefusalError {
  const limit = what === 'cpu' ? `${processor / 1000} ms of processor` : `${memory / 1024} KiB of memory`;
  return new RefusalError('budget', `the call used more than the ${limit} it declares`, {
    pointer: `${pointer}/${what}`,
  });
}
