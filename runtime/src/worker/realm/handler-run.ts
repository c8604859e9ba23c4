/** Part of the realm: a handler runs for one call, and the call ends by what became of it. */

import type { AuthorNotes } from './author-notes.ts';
import type { Instance } from './bundle-instances.ts';
import type { handlerContext } from './handler-context.ts';
import type { OpenCall, OpenCalls } from './open-calls.ts';
import type { RealmOutbox } from './outbox.ts';
import type { Statuses } from './status-error.ts';
import type { StillClock } from './still-clock.ts';

/** Parts of the realm that a run uses. */
export interface RunParts {
  readonly outbox: RealmOutbox;
  readonly calls: OpenCalls;
  readonly clock: StillClock;
  readonly statusOf: Statuses['statusOf'];
  readonly handlerContext: typeof handlerContext;
  /** An instance for the call. */
  readonly instance: () => Instance;
  /** Null in the VM. */
  readonly notes: AuthorNotes | null;
}

// biome-ignore-start lint/suspicious/noExplicitAny: objects of a realm are of any kind
/** Returns the function that starts the handler of a call, with the message and its request. */
export function handlerRun(parts: RunParts): (message: any, request: unknown) => void {
  const { outbox, calls, clock, statusOf, handlerContext, instance, notes } = parts;
  /** The time of the last call: many calls come in the same millisecond. */
  let told = { time: '', at: Number.NaN };

  return (message, request) => {
    const { call, method, streams, time, seed } = message;
    const { ask, end, signal } = calls.open(call);
    const ctx = handlerContext(message, { ask, end, signal });
    const run = async (): Promise<unknown> => {
      const { handlers, begin } = instance();
      begin(instant(time), seed);
      const answer = handlers[method](streams.request ? incoming(ask) : request, ctx);
      if (!streams.response) return answer;
      for await (const each of await answer) await ask({ kind: 'send' }, { value: each ?? null });
      return null;
    };
    run().then(
      (response) => end(answered(call, response)),
      (error) => {
        const status = statusOf(error);
        if (status === undefined) notes?.threw(method, error);
        end(outbox.written(status === undefined ? { kind: 'failed', call } : { kind: 'status', call, ...status }));
      },
    );
  };

  function instant(time: string): number {
    if (told.time !== time) told = { time, at: clock.RealDate.parse(time) };
    return told.at;
  }

  /** The messages of a request that is a stream. */
  function incoming(ask: OpenCall['ask']): object {
    return {
      [Symbol.asyncIterator]: () => ({
        next: () => ask({ kind: 'next' }),
        return: async () => ({ done: true, value: undefined }),
      }),
    };
  }

  /** The last message of a call with a response. One that has no JSON is a failure. */
  function answered(call: number, response: unknown): string {
    try {
      return outbox.done(call, response ?? null);
    } catch {
      return outbox.written({ kind: 'failed', call });
    }
  }
}
// biome-ignore-end lint/suspicious/noExplicitAny: objects of a realm are of any kind
