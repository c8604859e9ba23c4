/**
 * Calls as grpc-js gets to see them. Messages are plain: it would decompress every one that has arrived, a thousand times its
 * size, before any is asked for. And no deadline is longer than it can count.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingHttpHeaders } from 'node:http2';
import { Metadata, ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';

const STARTED = 'http2.server.stream.start';
/** What grpc-js is told that messages are compressed with. It does not know it, so that it refuses those that say they are. */
const NOT_TAKEN = 'none that is taken here';
/** Marks the calls that say that their messages are compressed. */
const COMPRESSED = 'enclaim-compressed';
/** Milliseconds in a unit of `grpc-timeout`, where one can be too many. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000 };
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const ACCEPTED = ['grpc-accept-encoding', 'identity'] as const;

/** Changes the headers of every call to this process before grpc-js reads them, until it is disposed of. */
export function plainCalls(): Disposable {
  // Node tells of a stream in the turn in which its headers come, and grpc-js in the next, with the same object.
  const onStart = (message: unknown): void => {
    const { headers } = message as { readonly headers: IncomingHttpHeaders };
    const encoding = headers['grpc-encoding'];
    if (encoding === NOT_TAKEN) return; // another server of this process was here first
    if (encoding !== undefined && encoding !== 'identity') headers[COMPRESSED] = '1';
    headers['grpc-encoding'] = NOT_TAKEN;
    if (isTooLong(headers['grpc-timeout'])) delete headers['grpc-timeout'];
  };
  subscribe(STARTED, onStart);
  return { [Symbol.dispose]: () => unsubscribe(STARTED, onStart) };
}

/** Refuses the calls that are marked, before any of their messages is read, and tells every caller what is taken. */
export const refuseCompressed: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata: (sent, pass) => {
          if (sent.get(COMPRESSED).length === 0) return pass(sent);
          const metadata = new Metadata();
          metadata.set(...ACCEPTED);
          call.sendStatus({ code: status.UNIMPLEMENTED, details: 'compressed messages are not taken', metadata });
        },
      }),
    sendMetadata: (metadata, next) => {
      metadata.set(...ACCEPTED);
      next(metadata);
    },
  });

/** Whether a deadline is one that no timer can hold. */
function isTooLong(timeout: string | string[] | undefined): boolean {
  const [, count, unit = ''] = /^(\d{1,8})([HMS])$/.exec(String(timeout)) ?? [];
  return Number(count) * (UNITS[unit] ?? 0) > LONGEST_TIMER_MS;
}
