/**
 * One call of gRPC on its stream of HTTP/2 (gRPC over HTTP/2, PROTOCOL-HTTP2.md): request messages
 * in, response messages and one status out.
 */

import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Stream,
  sensitiveHeaders,
} from 'node:http2';
import { NONCE_FIELD, nonceOf, RequestError, type RequestRefusal } from '@enclaim/attestation/grpc-request';
import { percentEncoded } from '@enclaim/attestation/grpc-status';
import type { RECEIPT_TRAILER } from '@enclaim/attestation/receipt';
import type { STATUS_DETAILS } from '../call/status-details.ts';
import type { CallSignal } from '../call-signal.ts';
import { STATUS } from '../refusals.ts';
import { RequestMessages } from './request-messages.ts';
import { ResponseMessages } from './response-messages.ts';

/** Refusal of a call whose time is over. */
export const LATE: RequestError = new RequestError(STATUS.deadlineExceeded, 'the time that the caller gave is over');
/**
 * Milliseconds in which a caller who was answered early may end its request by itself. A client may
 * take a reset for the loss of its call (grpclib does), though the answer came before.
 */
const REST_MS = 1000;
/** gRPC wants base64 to be sent so. */
const UNPADDED = { omitPadding: true } as const;
/**
 * Trailers that no table of HPACK keeps.
 *
 * **Cost**: each is sent once. In the tables of both ends it would take the place of all headers
 * that come again.
 */
const NEVER_INDEXED: readonly (keyof BinaryTrailers)[] = ['enclaim-receipt-bin', 'grpc-status-details-bin'];
const NO_FIELDS: IncomingHttpHeaders = {};
const NO_TRAILERS: BinaryTrailers = {};

/** A connection, as its calls know it. */
export interface CallerConnection {
  /** Unique in this process. */
  readonly number: string;
  /** Whether the caller was given evidence on it. */
  readonly isAttested: boolean;
  /**
   * Keying material of the TLS session under the label of the attested handshake, 32 bytes: the
   * same at both ends of this connection, and on no other.
   */
  exporter(): Uint8Array;
  /** Notes that a call of this turn has its last message, and that trailers follow. */
  answers(): void;
  /** Takes away the limit to a stream's life. */
  spare(stream: ServerHttp2Stream): void;
}

/** Facts of a call that its headers state. */
export interface CallHeaders {
  /** Whether messages may be compressed. */
  readonly mayCompress: boolean;
  /** Milliseconds that the caller gives the call; undefined without a limit. */
  readonly timeout: number | undefined;
  /** All header fields, names in small letters. */
  readonly fields: IncomingHttpHeaders;
}

/** Binary trailers by name. */
export type BinaryTrailers = {
  readonly [name in typeof RECEIPT_TRAILER | typeof STATUS_DETAILS]?: Uint8Array | undefined;
};

/** The end of a call, as its caller is told. */
export interface CallEnd {
  /** gRPC's number of the status. */
  readonly status: number;
  /** Text for people. */
  readonly message?: string;
  /** The one response message of a method without a stream of them. */
  readonly response?: Uint8Array | undefined;
  readonly trailers?: BinaryTrailers;
}

/** A call from its headers to its status. */
export class GrpcCall {
  readonly connection: CallerConnection;
  readonly #stream: ServerHttp2Stream;
  readonly #requests: RequestMessages;
  readonly #responses: ResponseMessages;
  #fields: IncomingHttpHeaders;
  readonly #deadline: NodeJS.Timeout | undefined;
  #rest: NodeJS.Timeout | undefined;
  #isOver = false;
  #left: (() => void) | undefined;

  constructor(stream: ServerHttp2Stream, connection: CallerConnection, headers: CallHeaders) {
    const { mayCompress, timeout } = headers;
    this.connection = connection;
    this.#stream = stream;
    this.#fields = headers.fields;
    this.#requests = new RequestMessages(stream, mayCompress, (fault) => this.refuse(fault));
    this.#responses = new ResponseMessages(stream);
    if (timeout !== undefined) this.#deadline = setTimeout(() => this.refuse(LATE), timeout);
  }

  /**
   * The bytes of a binary field of metadata; undefined without it, and if its value is not base64
   * or there are several.
   */
  binary(name: `${string}-bin`): Uint8Array | undefined {
    const value = this.#fields[name];
    if (typeof value !== 'string') return undefined;
    try {
      return Uint8Array.fromBase64(value);
    } catch {
      return undefined;
    }
  }

  /** The caller's nonce, hex, if it sent one. */
  get nonce(): string | undefined {
    return nonceOf(this.#fields[NONCE_FIELD]) ?? undefined;
  }

  /** Calls `serve` once the one message of a request is there and no more follows. */
  readOne(serve: () => void): void {
    this.#requests.readOne(serve);
  }

  /** The next request message; undefined after the last. As `RequestMessages.next`. */
  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    return this.#requests.next();
  }

  /** Sends a message of a response stream. As `ResponseMessages.send`. */
  async send(message: Uint8Array, signal?: CallSignal): Promise<void> {
    if (signal?.aborted) throw signal.reason;
    if (this.#isOver || this.#stream.destroyed) throw new Error('the call is over');
    await this.#responses.send(message, signal);
  }

  /** Lets the call go on as long as its caller likes. */
  outlive(): void {
    this.connection.spare(this.#stream);
  }

  /** Sets what is done if the call ends before its handler has ended it. */
  onLeave(left: () => void): void {
    this.#left = left;
  }

  /** Ends the call with its status. Only the first end counts. */
  end({ status, message = '', response, trailers = NO_TRAILERS }: CallEnd): void {
    if (!this.#finish()) return;
    const told: OutgoingHttpHeaders = { 'grpc-status': status };
    if (message !== '') told['grpc-message'] = percentEncoded(message);
    for (const name in trailers) {
      const value = trailers[name as keyof BinaryTrailers];
      if (value !== undefined) told[name] = value.toBase64(UNPADDED);
    }
    (told as unknown as Record<symbol, readonly string[]>)[sensitiveHeaders] = NEVER_INDEXED;
    if (response !== undefined) this.connection.answers();
    this.#responses.end(told, response, () => this.#discard());
  }

  /**
   * Ends a call that cannot go on, whatever its handler does, or a request that is no call: with a
   * status of gRPC, or with HTTP's where the request does not speak gRPC.
   */
  refuse(refusal: RequestRefusal): void {
    if (this.#isOver) return;
    if (!('http' in refusal)) this.end({ status: refusal.status, message: refusal.message });
    else if (this.#finish()) {
      const allowed = refusal.http === 405 && { allow: 'POST' };
      this.#responses.endAlone({ ':status': refusal.http, ...allowed });
      this.#discard();
    }
    this.#left?.();
  }

  /**
   * The stream is closed: if the call has not ended, its caller has left.
   *
   * **Cost**: the engine keeps a stream, and what its listeners lead to, until it collects the
   * whole heap, because Node's table of streams is one of those that `LiveMap` avoids. Without
   * this, all that a call held, and what was told at its end, stays with its stream.
   */
  closed(): void {
    clearTimeout(this.#rest);
    const isLost = !this.#isOver;
    this.#finish();
    if (isLost) this.#left?.();
    this.#left = undefined;
    this.#fields = NO_FIELDS;
    const told: OutgoingHttpHeaders | undefined = this.#stream.sentTrailers;
    for (const name in told) told[name] = undefined;
  }

  /** @returns whether the caller can still be told how the call ends */
  #finish(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    clearTimeout(this.#deadline);
    this.#requests.stop();
    return !this.#stream.destroyed && !this.#stream.closed;
  }

  /**
   * Throws away the rest of a request that was answered before its end, and tells a caller that
   * still sends after a while that it is not wanted (gRPC over HTTP/2, Early Server Closure).
   */
  #discard(): void {
    if (this.#requests.isWhole) return;
    const stream = this.#stream;
    stream.resume();
    this.#rest = setTimeout(() => {
      if (stream.state.remoteClose === 0) stream.close(constants.NGHTTP2_NO_ERROR);
    }, REST_MS);
  }
}
