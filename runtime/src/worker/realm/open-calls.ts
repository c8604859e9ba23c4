/** Part of the realm: calls that are open, and how each of them ends. */

import type { liveMap } from './live-map.ts';
import type { RealmOutbox } from './outbox.ts';
import type { CallOperations, PendingOperations } from './pending-operations.ts';

/** An open call, for the code that serves its handler. */
export interface OpenCall extends Pick<CallOperations, 'ask'> {
  /** Ends the call with a last message, unless it is over. Operations under way are forgotten. */
  readonly end: (last: string) => void;
  /** The handler's `ctx.signal`. */
  readonly signal: object;
}

/** Open calls of a realm by number. */
export interface OpenCalls {
  readonly open: (call: number) => OpenCall;
  /** Ends a call that the runtime cancelled, and tells its handler. */
  readonly cancel: (call: number) => void;
}

/** Makes the table of them, without any. */
export function openCalls(outbox: RealmOutbox, operations: PendingOperations, mapOf: typeof liveMap): OpenCalls {
  const running = mapOf<() => void>();

  function open(call: number): OpenCall {
    const { ask, forget } = operations.ofCall(call);
    // Made only for handlers that need them.
    let listeners: Set<() => void> | undefined;
    let aborted = false;
    const end = (last: string): void => {
      if (!forget()) return;
      running.delete(call);
      outbox.put(last);
    };
    running.set(call, () => {
      end(outbox.written({ kind: 'ended', call }));
      aborted = true;
      for (const action of listeners ?? []) {
        try {
          action();
        } catch {
          // An error of the handler's own listener is ignored: the worker has further calls.
        }
      }
    });
    const signal = Object.freeze({
      get aborted() {
        return aborted;
      },
      addEventListener: (_: string, action: () => void) => {
        listeners ??= new Set();
        listeners.add(action);
      },
      removeEventListener: (_: string, action: () => void) => void listeners?.delete(action),
    });
    return { ask, end, signal };
  }

  return {
    open,
    cancel: (call) => {
      const cancel = running.get(call);
      if (cancel === undefined) outbox.put(outbox.written({ kind: 'ended', call }));
      else cancel();
    },
  };
}
