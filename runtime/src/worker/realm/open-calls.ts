/** Part of the realm: calls that are open, and the operations that they wait for. */

import type { RealmOutbox } from './outbox.ts';

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** An open call, for the code that serves its handler. */
export interface OpenCall {
  /** Asks the runtime for an operation, and resolves with its result. */
  readonly ask: (question: object, value?: { readonly value: unknown }) => Promise<any>;
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
  /** Settles an operation. Returns its call, or -1 if nothing waits for it. */
  readonly settle: (message: any, value: unknown) => number;
}

/** Makes the table of them, without any. */
export function openCalls(outbox: RealmOutbox): OpenCalls {
  type Asker = { call: number; settled: () => void; resolve: (value: any) => void; reject: (error: Error) => void };
  const MAX_WAITING = 256;
  const MIN_REMOVALS = 64;
  const waiting = liveMap<Asker>();
  const running = liveMap<() => void>();
  let operations = 0;

  /** The runtime's `LiveMap` (live-map.ts). */
  function liveMap<V>(): Pick<Map<number, V>, 'get' | 'set' | 'delete'> {
    let table = new Map<number, V>();
    let removals = 0;
    return {
      get: (key) => table.get(key),
      set: (key, value) => table.set(key, value),
      delete: (key) => {
        if (!table.delete(key)) return false;
        if (++removals < Math.max(MIN_REMOVALS, table.size)) return true;
        table = new Map(table);
        removals = 0;
        return true;
      },
    };
  }

  function open(call: number): OpenCall {
    // Made only for handlers that need them: most calls ask for nothing.
    let listeners: Set<() => void> | undefined;
    let mine: Set<number> | undefined;
    let over = false;
    let aborted = false;
    const ask = (question: object, value?: { readonly value: unknown }): Promise<any> =>
      new Promise((resolve, reject) => {
        if (over) throw new Error('the call is over');
        mine ??= new Set();
        const asked = mine;
        if (asked.size >= MAX_WAITING) throw new RangeError(`more than ${MAX_WAITING} operations at once`);
        const operation = operations++;
        // Before it waits, because it may throw.
        const text = outbox.written({ ...question, call, operation }, value);
        asked.add(operation);
        const settled = (): void => void asked.delete(operation);
        waiting.set(operation, { call, settled, resolve, reject });
        outbox.put(text);
      });
    const end = (last: string): void => {
      if (over) return;
      over = true;
      running.delete(call);
      for (const operation of mine ?? []) waiting.delete(operation);
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
    settle: (message, value) => {
      const asker = waiting.get(message.operation);
      waiting.delete(message.operation);
      asker?.settled();
      if (message.kind === 'result') asker?.resolve(value);
      else asker?.reject(Object.assign(new Error(message.message), { code: message.code }));
      return asker?.call ?? -1;
    },
  };
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
