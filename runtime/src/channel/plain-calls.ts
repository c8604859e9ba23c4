/**
 * Calls as grpc-js gets to see them. A request that is no call is refused before one begins. Messages stay as they came: grpc-js
 * would decompress every one that has arrived, a thousand times its size, before any is asked for. And no deadline is longer than
 * it can count.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { ACCEPTED_ENCODINGS, type RequestRefusal, requestRefusal } from '@enclaim/attestation/grpc-request';
import { Metadata, ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';
import { flagOf } from './compressed-messages.ts';

const STARTED = 'http2.server.stream.start';
/** Marks the calls that say that their messages may be compressed. */
const COMPRESSED = 'enclaim-compressed';
/** Names the connection of a call, of which grpc-js knows the peer alone, and that not behind what counts its frames. */
const CONNECTION = 'enclaim-connection';
/** What grpc-js answers with 415. */
const NO_TYPE = 'none';
/** Milliseconds in a unit of `grpc-timeout`, where one can be too many. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000 };
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const ACCEPTED = ['grpc-accept-encoding', ACCEPTED_ENCODINGS] as const;

/** Streams that a server of this process has seen: what it made of their headers is not what their callers said. */
const seen = new WeakSet<ServerHttp2Stream>();

/** Names the calls on connections whose callers were given evidence. */
const ATTESTED = 'enclaim-attested';
const attested = new WeakSet<object>();

/** A connection, as HTTP/2 is given it, whose caller was given evidence on it. */
export function markAttested(connection: object): void {
  attested.add(connection);
}

/** Whether a call came on a connection that was marked. */
export function isAttested({ metadata }: { readonly metadata: Metadata }): boolean {
  return metadata.get(ATTESTED).length > 0;
}

/** Node keeps what it was given in place of a socket as the stream of one. Kept elsewhere, no connection would count. */
function isOnAttested({ session }: ServerHttp2Stream): boolean {
  const { stream } = (session?.socket ?? {}) as { readonly stream?: unknown };
  return typeof stream === 'object' && stream !== null && attested.has(stream);
}

/** Connections by number. */
const numbers = new WeakMap<object, string>();
let latest = 0;

/** Which connection a call came on: no two of this process have the same. */
export function connectionOf({ metadata }: { readonly metadata: Metadata }): string {
  return String(metadata.get(CONNECTION)[0]);
}

function numberOf({ session }: ServerHttp2Stream): string {
  if (session === undefined) return '';
  const number = numbers.get(session) ?? String(++latest);
  numbers.set(session, number);
  return number;
}

/** Changes the headers of every call to this process before grpc-js reads them, until it is disposed of. */
export function plainCalls(): Disposable {
  // Node tells of a stream in the turn in which its headers come, and grpc-js in the next, with the same object.
  const onStart = (message: unknown): void => {
    const { stream, headers } = message as {
      readonly stream: ServerHttp2Stream;
      readonly headers: IncomingHttpHeaders;
    };
    if (seen.has(stream)) return;
    seen.add(stream);
    const refusal = requestRefusal(headers);
    if (refusal !== undefined) refuse(stream, headers, refusal);
    headers[CONNECTION] = numberOf(stream);
    // Whatever the caller says of itself.
    if (isOnAttested(stream)) headers[ATTESTED] = '1';
    else delete headers[ATTESTED];
    if (headers['grpc-encoding'] === 'gzip') headers[COMPRESSED] = '1';
    else delete headers[COMPRESSED];
    delete headers['grpc-encoding'];
    if (isTooLong(headers['grpc-timeout'])) delete headers['grpc-timeout'];
  };
  subscribe(STARTED, onStart);
  return { [Symbol.dispose]: () => unsubscribe(STARTED, onStart) };
}

/** Has grpc-js answer a request that is no call with what it is refused with, in place of its own 415. */
function refuse(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, refusal: RequestRefusal): void {
  headers['content-type'] = NO_TYPE;
  const respond = stream.respond.bind(stream);
  stream.respond = () => {
    respond(answerOf(refusal), { endStream: true });
    stream.resume(); // what the caller still sends is nobody's
  };
}

function answerOf(refusal: RequestRefusal): OutgoingHttpHeaders {
  if ('http' in refusal) return { ':status': refusal.http, ...(refusal.http === 405 && { allow: 'POST' }) };
  const { status: code, message } = refusal;
  const own = { ':status': 200, 'content-type': 'application/grpc', [ACCEPTED[0]]: ACCEPTED[1] };
  return { ...own, 'grpc-status': code, 'grpc-message': encodeURI(message.toWellFormed()) };
}

/** Refuses messages that are compressed although their call is not, and tells every caller what is taken. */
export const refuseUndeclared: ServerInterceptor = (_method, call) => {
  let most = 0;
  return new ServerInterceptingCall(call, {
    start: (next) =>
      next({
        onReceiveMetadata: (sent, pass) => {
          most = sent.get(COMPRESSED).length;
          pass(sent);
        },
        onReceiveMessage: (message, pass) => {
          if (flagOf(message) <= most) return pass(message);
          const details = 'a message marked as compressed in a call that names no compression';
          call.sendStatus({ code: status.INTERNAL, details, metadata: new Metadata() });
        },
      }),
    sendMetadata: (metadata, next) => {
      metadata.set(...ACCEPTED);
      next(metadata);
    },
  });
};

/** Whether a deadline is one that no timer can hold. */
function isTooLong(timeout: string | string[] | undefined): boolean {
  const [, count, unit = ''] = /^(\d{1,8})([HMS])$/.exec(String(timeout)) ?? [];
  return Number(count) * (UNITS[unit] ?? 0) > LONGEST_TIMER_MS;
}
