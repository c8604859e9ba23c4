/**
 * The end of a call before its handler's end: its signal, and the reason that all that waits in its
 * name rejects with.
 */

import { CallEnd, type CallSignal } from '../call-signal.ts';
import { RefusalError } from '../errors.ts';
import type { CallBudget } from './call-budget.ts';

/**
 * Reason why a call ended before its handler did: the refusal that ended it, or the end of its
 * time.
 */
export function reasonOf({ reason }: CallSignal): RefusalError {
  return reason instanceof RefusalError
    ? reason
    : new RefusalError('budget', 'the call ran out of time or was given up');
}

/**
 * Waits for a promise for as long as the call lasts.
 *
 * @throws RefusalError `budget` once the call is over; any error of `something`
 */
export async function whileItLasts<T>(signal: CallSignal, something: Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const over = (): void => reject(reasonOf(signal));
  something.then(resolve, reject);
  if (signal.aborted) over();
  else signal.addEventListener('abort', over, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', over);
  }
}

/** The time limit of a call. */
export interface Deadline extends Disposable {
  readonly signal: CallSignal;
  /** Ends the call before that. */
  readonly end: (refusal: RefusalError) => void;
}

/** The caller's signal, which also aborts once the wall time of the call's budget is over. */
export function deadlineOf(caller: CallSignal, { wall, pointer }: CallBudget): Deadline {
  const over = new CallEnd();
  const message = `the call took longer than the ${wall} ms that it declares`;
  const end = (refusal: RefusalError): void => over.abort(refusal);
  const late = (): void => {
    // layer: wall time
    end(new RefusalError('budget', message, { pointer: `${pointer}/wall` }));
  };
  const gone = (): void => over.abort(caller.reason);
  const timer = setTimeout(late, wall);
  if (caller.aborted) gone();
  caller.addEventListener('abort', gone, { once: true });
  return {
    signal: over,
    end,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      caller.removeEventListener('abort', gone);
    },
  };
}
