/** Calls under way: they can be waited for, and cut off, and none is let in once the end has begun. */

import { RefusalError } from '../errors.ts';

/** Why a call ends whose caller has left. */
const GONE = new Error('the caller has gone');

/** The calls of one server, each by what ends it early. */
export class RunningCalls {
  readonly #all = new Set<AbortController>();
  readonly #none = Promise.withResolvers<void>();
  #closed = false;

  /** A call begins; its signal has been given already where the end has begun. */
  begin(): AbortController {
    const over = new AbortController();
    this.#all.add(over);
    if (this.#closed) over.abort(ending());
    return over;
  }

  /** The caller of a call has gone. Nobody hears of it where the call has its answer. */
  leave(over: AbortController): void {
    // Without a reason, it would be given an error of its own.
    if (this.#all.has(over)) over.abort(GONE);
  }

  /** A call has its answer. */
  end(over: AbortController): void {
    this.#all.delete(over);
    if (this.#closed && this.#all.size === 0) this.#none.resolve();
  }

  /** From now on none is let in. Resolves when all have ended. */
  close(): Promise<void> {
    this.#closed = true;
    if (this.#all.size === 0) this.#none.resolve();
    return this.#none.promise;
  }

  /** Ends those that are left, and answers with their number. */
  cut(): number {
    for (const over of this.#all) over.abort(ending());
    return this.#all.size;
  }
}

function ending(): RefusalError {
  return new RefusalError('shutdown', 'the runtime is about to end');
}
