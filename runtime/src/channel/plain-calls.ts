/**
 * Calls as grpc-js gets to see them. A request that is no gRPC call is refused before a call
 * begins. No deadline is longer than a timer of Node can hold.
 *
 * **Bound**: messages stay compressed. Without this, grpc-js would decompress every message that
 * has arrived, to a thousand times its size, before the runtime asks for any.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { ACCEPTED_ENCODINGS, type RequestRefusal, requestRefusal } from '@enclaim/attestation/grpc-request';
import { Metadata, ServerInterceptingCall, type ServerInterceptor, status } from '@grpc/grpc-js';
import { flagOf } from './compressed-messages.ts';

const STARTED = 'http2.server.stream.start';
/** Marks calls that declare their messages as compressed. */
const COMPRESSED = 'enclaim-compressed';
/**
 * Header that names a call's connection. grpc-js only knows the peer's address, and not even that
 * behind the stream that counts its frames.
 */
const CONNECTION = 'enclaim-connection';
/** A content type that grpc-js answers with 415. */
const NO_TYPE = 'none';
/** Milliseconds in a unit of `grpc-timeout`, for the units in which a timer can overflow. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000 };
const MAX_TIMER_MS = 2 ** 31 - 1;
const ACCEPTED = ['grpc-accept-encoding', ACCEPTED_ENCODINGS] as const;

/**
 * Streams whose headers a server of this process has rewritten. A second server must not take the
 * rewritten headers for the caller's.
 */
const seen = new WeakSet<ServerHttp2Stream>();

/** Marks calls on connections whose callers were given evidence. */
const ATTESTED = 'enclaim-attested';
const attested = new WeakSet<object>();

/** Marks a connection, as HTTP/2 is given it, whose caller was given evidence on it. */
export function markAttested(connection: object): void {
  attested.add(connection);
}

/** Whether a call came on a marked connection. */
export function isAttested({ metadata }: { readonly metadata: Metadata }): boolean {
  return metadata.get(ATTESTED).length > 0;
}

/**
 * Whether a stream belongs to a marked connection. Node keeps the object that it was given in place
 * of a socket as `stream` of its socket. If a version of Node kept it elsewhere, no connection
 * would count as attested.
 */
function isOnAttested({ session }: ServerHttp2Stream): boolean {
  const { stream } = (session?.socket ?? {}) as { readonly stream?: unknown };
  return typeof stream === 'object' && stream !== null && attested.has(stream);
}

/** Number of each connection. */
const numbers = new WeakMap<object, string>();
let latest = 0;

/** Number of the connection that a call came on, unique in this process. */
export function connectionOf({ metadata }: { readonly metadata: Metadata }): string {
  return String(metadata.get(CONNECTION)[0]);
}

function numberOf({ session }: ServerHttp2Stream): string {
  if (session === undefined) return '';
  const number = numbers.get(session) ?? String(++latest);
  numbers.set(session, number);
  return number;
}

/** Changes the headers of every call to this process before grpc-js reads them, until disposal. */
export function plainCalls(): Disposable {
  // Node publishes a stream in the turn in which its headers come. grpc-js reads the same object in
  // the next turn.
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
    // Overwrites any such header that the caller sent.
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

/** Makes grpc-js answer a request that is no call with this refusal, in place of its own 415. */
function refuse(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, refusal: RequestRefusal): void {
  headers['content-type'] = NO_TYPE;
  const respond = stream.respond.bind(stream);
  stream.respond = () => {
    respond(answerOf(refusal), { endStream: true });
    stream.resume(); // discards the rest of what the caller sends
  };
}

function answerOf(refusal: RequestRefusal): OutgoingHttpHeaders {
  if ('http' in refusal) return { ':status': refusal.http, ...(refusal.http === 405 && { allow: 'POST' }) };
  const { status: code, message } = refusal;
  const own = { ':status': 200, 'content-type': 'application/grpc', [ACCEPTED[0]]: ACCEPTED[1] };
  return { ...own, 'grpc-status': code, 'grpc-message': encodeURI(message.toWellFormed()) };
}

/**
 * Refuses compressed messages of calls that declare no compression, and tells every caller the
 * accepted encodings.
 */
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

/** Whether a deadline is longer than a timer can hold. */
function isTooLong(timeout: string | string[] | undefined): boolean {
  const [, count, unit = ''] = /^(\d{1,8})([HMS])$/.exec(String(timeout)) ?? [];
  return Number(count) * (UNITS[unit] ?? 0) > MAX_TIMER_MS;
}
