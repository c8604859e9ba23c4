/**
 * Calls under way. The server can wait for them and cut them off, and no call is let in once it
 * closes.
 */

import { RefusalError } from '../errors.ts';
import { LiveMap } from '../live-map.ts';

/** Reason of the end of a call whose caller has left. */
const GONE = new Error('the caller has gone');

/** The calls of one server, each as the controller that ends it early. */
export class RunningCalls {
  readonly #all = new LiveMap<AbortController, true>();
  readonly #none = Promise.withResolvers<void>();
  #closed = false;

  /** Begins a call. Its signal is already aborted if the server is closing. */
  begin(): AbortController {
    const over = new AbortController();
    this.#all.set(over, true);
    if (this.#closed) over.abort(ending());
    return over;
  }

  /** Ends a call because its caller has gone. Does nothing if the call has its answer. */
  leave(over: AbortController): void {
    // Without a reason, the signal would get an error of its own.
    if (this.#all.has(over)) over.abort(GONE);
  }

  /** Marks a call as answered. */
  end(over: AbortController): void {
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
}

function ending(): RefusalError {
  return new RefusalError('shutdown', 'the runtime is about to end');
}
