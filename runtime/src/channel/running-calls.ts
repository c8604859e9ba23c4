/**
 * Calls under way. The server can wait for them and cut them off, none lives longer than it may,
 * and none is let in once the server closes.
 */

import { CallEnd } from '../call-signal.ts';
import { RefusalError } from '../errors.ts';
import { LiveMap } from '../live-map.ts';

/** Reason of the end of a call whose caller has left. */
const GONE = new Error('the caller has gone');
/** Looks at the calls during the shortest life that one may have. */
const LOOKS = 32;

/** The calls of one server, each as the signal that ends it early. */
export class RunningCalls {
  /** Each with the number of the look at which it has lived for as long as it may. */
  readonly #all = new LiveMap<CallEnd, number>();
  readonly #none = Promise.withResolvers<void>();
  /** Milliseconds between two looks. */
  readonly #interval: number;
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param shortest milliseconds of the shortest life that a call may have */
  constructor(shortest: number) {
    this.#interval = Math.max(1, shortest / LOOKS);
  }

  /**
   * Begins a call. Its signal is already aborted if the server is closing.
   *
   * **Cost**: a timer for each call, or a reading of the clock, costs more than all the rest here.
   *
   * @param longest milliseconds that it may live, up to two looks more
   */
  begin(longest: number): CallEnd {
    const over = new CallEnd();
    this.#all.set(over, this.#looks + 1 + Math.ceil(longest / this.#interval));
    this.#timer ??= setInterval(() => this.#look(), this.#interval).unref();
    if (this.#closed) over.abort(ending());
    return over;
  }

  /** Ends a call because its caller has gone. Does nothing if the call has its answer. */
  leave(over: CallEnd): void {
    if (this.#all.has(over)) over.abort(GONE);
  }

  /** Marks a call as answered. */
  end(over: CallEnd): void {
    this.#all.delete(over);
    if (this.#closed && this.#all.size === 0) this.#none.resolve();
  }

  /** Lets no further call in. Resolves when all have ended. */
  close(): Promise<void> {
    this.#closed = true;
    if (this.#all.size === 0) this.#none.resolve();
    return this.#none.promise;
  }

  /** Ends the calls that are left, and returns their number. */
  cut(): number {
    for (const over of this.#all.keys()) over.abort(ending());
    return this.#all.size;
  }

  #look(): void {
    this.#looks++;
    if (this.#all.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const [over, last] of this.#all) {
      // layer: life of a call
      if (this.#looks >= last) over.abort();
    }
  }
}

function ending(): RefusalError {
  return new RefusalError('shutdown', 'the runtime is about to end');
}
