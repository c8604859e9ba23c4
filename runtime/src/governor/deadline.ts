/**
 * The end of a call before its handler's end: its signal, and the reason that all that waits in its
 * name rejects with.
 */

import { RefusalError } from '../errors.ts';
import type { CallBudget } from './call-budget.ts';

/**
 * Reason why a call ended before its handler did: the refusal that ended it, or the end of its
 * time.
 */
export function reasonOf({ reason }: AbortSignal): RefusalError {
  return reason instanceof RefusalError
    ? reason
    : new RefusalError('budget', 'the call ran out of time or was given up');
}

/**
 * Waits for a promise for as long as the call lasts.
 *
 * @throws RefusalError `budget` once the call is over; any error of `something`
 */
export async function whileItLasts<T>(signal: AbortSignal, something: Promise<T>): Promise<T> {
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
  readonly signal: AbortSignal;
  /** Ends the call before that. */
  readonly end: (refusal: RefusalError) => void;
}

/**
 * The caller's signal, which also aborts once the wall time of the call's budget is over.
 *
 * **Cost**: `AbortSignal.any` costs ten times as much.
 */
export function deadlineOf(caller: AbortSignal, { wall, pointer }: CallBudget): Deadline {
  const controller = new AbortController();
  const message = `the call took longer than the ${wall} ms that it declares`;
  const end = (refusal: RefusalError): void => controller.abort(refusal);
  const late = (): void => {
    // layer: wall time
    end(new RefusalError('budget', message, { pointer: `${pointer}/wall` }));
  };
  const gone = (): void => controller.abort(caller.reason);
  const timer = setTimeout(late, wall);
  if (caller.aborted) gone();
  caller.addEventListener('abort', gone, { once: true });
  return {
    signal: controller.signal,
    end,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      caller.removeEventListener('abort', gone);
    },
  };
}
