/** Part of the realm: operations that handlers asked for and that the runtime has not settled. */

import type { liveMap } from './live-map.ts';
import type { RealmOutbox } from './outbox.ts';

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** The operations of one call. */
export interface CallOperations {
  /** Asks the runtime for an operation, and resolves with its result. */
  readonly ask: (question: object, value?: { readonly value: unknown }) => Promise<any>;
  /** Forgets those under way, and refuses further ones. Returns whether it is the first time. */
  readonly forget: () => boolean;
}

/** The operations of all calls of a realm. */
export interface PendingOperations {
  readonly ofCall: (call: number) => CallOperations;
  /** Settles an operation. Returns its call, or -1 if nothing waits for it. */
  readonly settle: (message: any, value: unknown) => number;
}

/** Makes the table of them, without any. */
export function pendingOperations(outbox: RealmOutbox, mapOf: typeof liveMap): PendingOperations {
  type Asker = { call: number; settled: () => void; resolve: (value: any) => void; reject: (error: Error) => void };
  const MAX_WAITING = 256;
  const waiting = mapOf<Asker>();
  let operations = 0;

  function ofCall(call: number): CallOperations {
    // Made only for handlers that need it: most calls ask for nothing.
    let mine: Set<number> | undefined;
    let over = false;
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
    const forget = (): boolean => {
      if (over) return false;
      over = true;
      for (const operation of mine ?? []) waiting.delete(operation);
      return true;
    };
    return { ask, forget };
  }

  return {
    ofCall,
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
