/** The end of a call before its handler's: what its signal says, heard by everything that waits in its name. */

import { RefusalError } from '../errors.ts';
import type { CallBudget } from './call-budget.ts';

/** Why a call is over before its handler is: what ended it says so itself, or its time was over. */
export function reasonOf({ reason }: AbortSignal): RefusalError {
  return reason instanceof RefusalError
    ? reason
    : new RefusalError('budget', 'the call ran out of time or was given up');
}

/** Waits for something for as long as the call lasts. @throws RefusalError `budget` once it is over; what `something` does */
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

/** How long a call may last. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** Ends the call before. */
  readonly end: (refusal: RefusalError) => void;
}

/** The caller's signal, which aborts too once the wall time of its budget is over. (`AbortSignal.any` costs ten times as much.) */
export function deadlineOf(caller: AbortSignal, { wall, pointer }: CallBudget): Deadline {
  const controller = new AbortController();
  const message = `the call took longer than the ${wall} ms that it declares`;
  const end = (refusal: RefusalError): void => controller.abort(refusal);
  const late = (): void => end(new RefusalError('budget', message, { pointer: `${pointer}/wall` }));
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
