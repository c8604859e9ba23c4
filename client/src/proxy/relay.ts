/**
 * The relay: one call of plain gRPC over HTTP/2, carried over a channel and back. Messages pass as
 * bytes.
 */

import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { Reader } from '@enclaim/attestation/bytes';
import { ACCEPTED_ENCODINGS, MAX_MESSAGE_BYTES, maxInflated, requestRefusal } from '@enclaim/attestation/grpc-request';
import { type ChannelInterface as Channel, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { passing } from '../metadata.ts';

/** A message's prefix: compressed flag, u32 length. */
const PREFIX = 5;
/** Node's error for an answer larger than it may be. */
const TOO_LARGE = 'ERR_BUFFER_TOO_LARGE';

/** A call that ends before it is made, or while its request is read. */
class Malformed extends Error {
  readonly code: status;

  constructor(code: status, message: string) {
    super(message);
    this.code = code;
  }
}

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
  const fault = strangerIn(headers) ?? (refusal && new Malformed(refusal.status, refusal.message));
  if (fault === undefined) return false;
  new Answer(stream).end({ code: fault.code, details: fault.message, metadata: new Metadata() });
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

function strangerIn(headers: IncomingHttpHeaders): Malformed | undefined {
  const authority = headers[':authority'] ?? headers.host ?? '';
  if (!isOfThisMachine(authority)) {
    // A page of any site can make a browser ask for a name that leads here.
    return new Malformed(status.PERMISSION_DENIED, `authority ${authority.slice(0, 256)} is not of this machine`);
  }
  if (headers.origin !== undefined) return new Malformed(status.PERMISSION_DENIED, 'calls of web pages are not taken');
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
  return error instanceof Malformed ? error.code : status.CANCELLED;
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
    const prefix = Buffer.alloc(PREFIX);
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

/**
 * `grpc-message`: UTF-8, in which every byte but printable ASCII, and the percent sign, is escaped
 * (gRPC over HTTP/2). A space at either end is escaped too, because HTTP/2 has none there and Node
 * drops a field that has one.
 */
function percentEncoded(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text.toWellFormed())) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded.replace(/^ | $/g, '%20');
}

/** Messages of the client's half. @throws Malformed */
async function* messagesIn(stream: ServerHttp2Stream, encoding: string | string[] | undefined): AsyncIterable<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  let wanted = PREFIX;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    held.push(chunk);
    size += chunk.length;
    while (size >= wanted) {
      const bytes = Buffer.concat(held);
      const { compressed, length } = prefixOf(bytes);
      const end = PREFIX + length;
      const whole = size >= end;
      const message = bytes.subarray(PREFIX, end);
      if (whole) yield compressed ? await inflated(message, encoding) : message;
      const rest = whole ? bytes.subarray(end) : bytes;
      wanted = whole ? PREFIX : end;
      held = [rest];
      size = rest.length;
    }
  }
  if (size > 0) throw new Malformed(status.INTERNAL, 'the request ends within a message');
}

function prefixOf(bytes: Uint8Array): { compressed: boolean; length: number } {
  const reader = new Reader(bytes.subarray(0, PREFIX));
  const flag = reader.u8();
  if (flag > 1) throw new Malformed(status.INTERNAL, `a message's first byte is ${flag}, expected 0 or 1`);
  const length = reader.u32be();
  if (length > MAX_MESSAGE_BYTES) {
    throw new Malformed(
      status.RESOURCE_EXHAUSTED,
      `a message of ${length} bytes where ${MAX_MESSAGE_BYTES} are allowed`,
    );
  }
  return { compressed: flag === 1, length };
}

/**
 * A message as it was before its client compressed it.
 *
 * **Bound**: no more is made of it than a message may have.
 */
async function inflated(message: Buffer, encoding: string | string[] | undefined): Promise<Buffer> {
  if (encoding !== 'gzip')
    throw new Malformed(status.INTERNAL, 'a compressed message in a call that names no compression');
  try {
    return await promisify(gunzip)(message, { maxOutputLength: maxInflated(message.length) });
  } catch (cause) {
    const large = (cause as NodeJS.ErrnoException).code === TOO_LARGE;
    if (large) throw new Malformed(status.RESOURCE_EXHAUSTED, 'a compressed message is larger than it may be');
    throw new Malformed(status.INVALID_ARGUMENT, 'a compressed message is not gzip');
  }
}

const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** The time by which the call must have ended, in milliseconds since 1970. @throws Malformed */
function deadlineOf({ 'grpc-timeout': timeout }: IncomingHttpHeaders): number {
  if (timeout === undefined) return Number.POSITIVE_INFINITY;
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(timeout)) ?? [];
  if (digits === undefined) throw new Malformed(status.INTERNAL, 'grpc-timeout is not a time');
  return Date.now() + Math.ceil(Number(digits) * (UNITS[unit] ?? 0));
}
