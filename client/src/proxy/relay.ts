/**
 * The relay: one call of plain gRPC over HTTP/2, carried over a channel and back. Messages pass as
 * bytes.
 */

import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { MessageFrames, PREFIX_BYTES } from '@enclaim/attestation/grpc-message';
import {
  ACCEPTED_ENCODINGS,
  maxInflated,
  RequestError,
  requestRefusal,
  timeoutOf,
} from '@enclaim/attestation/grpc-request';
import { percentEncoded } from '@enclaim/attestation/grpc-status';
import { type ChannelInterface as Channel, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { passing } from '../metadata.ts';

/** Node's error for an answer larger than it may be. */
const TOO_LARGE = 'ERR_BUFFER_TOO_LARGE';

/** A request as it came in. */
export interface Incoming {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn. */
  readonly rawHeaders: readonly string[];
}

/** A call that is carried. */
export interface Relayed {
  /** Ends it with a status. */
  end(code: status, details: string): void;
}

/**
 * Refuses a request before there is a call, if it is not gRPC or not from a program of this
 * machine.
 * @returns whether it was refused, and answered
 */
export function refused({ stream, headers, rawHeaders }: Incoming): boolean {
  const refusal = requestRefusal(headers, rawHeaders);
  if (refusal !== undefined && 'http' in refusal) {
    return endWith(stream, { ':status': refusal.http, ...(refusal.http === 405 && { allow: 'POST' }) });
  }
  const fault = strangerIn(headers) ?? refusal;
  if (fault === undefined) return false;
  new Answer(stream).end({ code: fault.status, details: fault.message, metadata: new Metadata() });
  return true;
}

/** Carries one call over a channel. */
export function relay(channel: Channel, { stream, headers }: Incoming): Relayed {
  const answer = new Answer(stream);
  let call: ReturnType<Channel['createCall']>;
  try {
    call = channel.createCall(headers[':path'] ?? '', deadlineOf(headers), null, null, null);
  } catch (error) {
    answer.end({ code: codeOf(error), details: (error as Error).message, metadata: new Metadata() });
    return { end: () => {} };
  }
  stream.on('close', () => call.cancelWithStatus(status.CANCELLED, 'cancelled by the client'));
  call.start(Metadata.fromHttp2Headers(passing(headers)), {
    onReceiveMetadata: (metadata) => answer.begin(metadata),
    onReceiveMessage: (message: Buffer) => {
      // The next message is asked for when this one has left: a slow reader slows the sender down.
      answer.message(message, () => call.startRead());
    },
    onReceiveStatus: (ended) => answer.end(ended),
  });
  call.startRead();
  void (async () => {
    for await (const message of messagesIn(stream, headers['grpc-encoding'])) {
      await new Promise<void>((resolve) => {
        call.sendMessageWithContext({ callback: () => resolve() }, message);
      });
    }
    call.halfClose();
  })().catch((error: unknown) => call.cancelWithStatus(codeOf(error), (error as Error).message));
  return { end: (code, details) => call.cancelWithStatus(code, details) };
}

function strangerIn(headers: IncomingHttpHeaders): RequestError | undefined {
  const authority = headers[':authority'] ?? headers.host ?? '';
  if (!isOfThisMachine(authority)) {
    // A page of any site can make a browser ask for a name that leads here.
    return new RequestError(status.PERMISSION_DENIED, `authority ${authority.slice(0, 256)} is not of this machine`);
  }
  if (headers.origin !== undefined)
    return new RequestError(status.PERMISSION_DENIED, 'calls of web pages are not taken');
  return undefined;
}

/** Whether an authority (RFC 9110, 7.2) names this machine's loopback, as clients write it. */
export function isOfThisMachine(authority: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(authority);
}

function endWith(stream: ServerHttp2Stream, headers: OutgoingHttpHeaders): true {
  stream.respond(headers, { endStream: true });
  stream.resume();
  return true;
}

function codeOf(error: unknown): status {
  return error instanceof RequestError ? error.status : status.CANCELLED;
}

/** The response on its way to the client. */
class Answer {
  readonly #stream: ServerHttp2Stream;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  begin(metadata: Metadata): void {
    if (this.#stream.destroyed || this.#stream.headersSent) return;
    this.#stream.respond(this.#head(metadata), { waitForTrailers: true });
  }

  message(message: Buffer, written: () => void): void {
    if (this.#stream.destroyed) return;
    this.begin(new Metadata());
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    this.#stream.write(prefix);
    this.#stream.write(message, written);
  }

  /**
   * Ends the answer with a status. If nothing has left yet, the status goes alone, in one block:
   * clients retry by themselves only calls that ended so.
   */
  end({ code, details, metadata }: StatusObject): void {
    const stream = this.#stream;
    if (stream.destroyed || stream.writableEnded) return;
    const trailers = {
      ...passing(metadata.toHttp2Headers()),
      'grpc-status': String(code),
      ...(details !== '' && { 'grpc-message': percentEncoded(details) }),
    };
    if (stream.headersSent) {
      stream.on('wantTrailers', () => stream.sendTrailers(trailers));
      stream.end();
    } else {
      stream.respond({ ...this.#head(new Metadata()), ...trailers }, { endStream: true });
    }
    stream.resume(); // what the client still sends goes nowhere
  }

  #head(metadata: Metadata): OutgoingHttpHeaders {
    const own = { ':status': 200, 'content-type': 'application/grpc', 'grpc-accept-encoding': ACCEPTED_ENCODINGS };
    return { ...passing(metadata.toHttp2Headers()), ...own };
  }
}

/** Messages of the client's half. @throws RequestError */
async function* messagesIn(stream: ServerHttp2Stream, encoding: string | string[] | undefined): AsyncIterable<Buffer> {
  const frames = new MessageFrames(encoding === 'gzip');
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    frames.add(chunk);
    for (let next = frames.take(); next !== undefined; next = frames.take()) {
      const { buffer, byteOffset, length } = next.bytes;
      const message = Buffer.from(buffer, byteOffset, length);
      yield next.isCompressed ? await inflated(message) : message;
    }
  }
  if (frames.size > 0) throw new RequestError(status.INTERNAL, 'the request ends within a message');
}

/**
 * A message as it was before its client compressed it.
 *
 * **Bound**: no more is made of it than a message may have.
 */
async function inflated(message: Buffer): Promise<Buffer> {
  try {
    return await promisify(gunzip)(message, { maxOutputLength: maxInflated(message.length) });
  } catch (cause) {
    const large = (cause as NodeJS.ErrnoException).code === TOO_LARGE;
    if (large) throw new RequestError(status.RESOURCE_EXHAUSTED, 'a compressed message is larger than it may be');
    throw new RequestError(status.INVALID_ARGUMENT, 'a compressed message is not gzip');
  }
}

/** The time by which the call must have ended, in milliseconds since 1970. */
function deadlineOf({ 'grpc-timeout': timeout }: IncomingHttpHeaders): number {
  if (timeout === undefined) return Number.POSITIVE_INFINITY;
  return Date.now() + Math.ceil(timeoutOf(String(timeout)) ?? 0);
}
