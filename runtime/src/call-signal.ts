/** The end of a call before its handler's end, as all that works in its name hears of it. */

/** A call's signal, as it is listened to. An `AbortSignal` is one, too. */
export interface CallSignal {
  readonly aborted: boolean;
  /** Why it ended; undefined until then. */
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: () => void, options?: { readonly once?: boolean }): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Reason of an end for which none is given. */
const OVER = new Error('the call is over');

/**
 * A call's signal, which its owner aborts. Each listener is called once.
 *
 * **Cost**: an `AbortController` with one listener takes 1.5 KiB, for a call that is hardly ever
 * ended early.
 */
export class CallEnd implements CallSignal {
  aborted = false;
  reason: unknown;
  /** The first listener, because most signals have one. */
  #first: (() => void) | undefined;
  #others: Set<() => void> | undefined;

  /** Ends the call. Only the first end counts. */
  abort(reason: unknown = OVER): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined) told(first);
    // One that is removed meanwhile is not called.
    for (const other of this.#others ?? []) told(other);
    this.#others = undefined;
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    if (this.aborted || this.#first === listener) return;
    if (this.#first === undefined && this.#others === undefined) {
      this.#first = listener;
      return;
    }
    this.#others ??= new Set();
    this.#others.add(listener);
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    if (this.#first === listener) this.#first = undefined;
    else this.#others?.delete(listener);
  }
}

/** Calls a listener. Its error keeps no other from being called, and ends the process. */
function told(listener: () => void): void {
  try {
    listener();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** The same as an `AbortSignal`, for the system's own functions. */
export function abortSignalOf(signal: CallSignal): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  const controller = new AbortController();
  const over = (): void => controller.abort(signal.reason);
  if (signal.aborted) over();
  else signal.addEventListener('abort', over, { once: true });
  return controller.signal;
}
