/**
 * A connection that carries calls: one session of HTTP/2 on one socket, with the limits of both.
 * Each of its streams is judged before it is a call.
 */

import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { EXPORTER_LABEL } from '@enclaim/attestation/batch';
import { MAX_METADATA_BYTES, requestRefusal, timeoutOf } from '@enclaim/attestation/grpc-request';
import { MeteredSocket } from '@enclaim/attestation/metered-socket';
import { STATUS } from '../refusals.ts';
import { type CallerConnection, GrpcCall, LATE } from './grpc-call.ts';
import type { ServedMethods } from './served-methods.ts';
import type { StreamLimit } from './stream-limit.ts';

/** Calls of one connection at once, and the memory that HTTP/2 may hold for them. */
const MAX_STREAMS = 64;
const MAX_SESSION_MEGABYTES = 64;
const HTTP2: ServerOptions = {
  settings: {
    /* layer: streams of a connection */ maxConcurrentStreams: MAX_STREAMS,
    maxHeaderListSize: MAX_METADATA_BYTES,
  },
  maxSessionMemory: MAX_SESSION_MEGABYTES,
};
/**
 * Open calls of a connection from which on an answer waits for its trailers, so that both leave in
 * one piece. With fewer, a peer is awake earlier if it is sent the answer first.
 */
const BUSY_STREAMS = 8;
/** Milliseconds between two looks at a connection. Each sends a ping, which a live peer answers. */
const LOOK_MS = 60_000;
/** Looks after which a connection that carried no call ends. */
const MAX_IDLE_LOOKS = 5;
/**
 * Milliseconds for which a connection may start calls, a tenth more or less, and for which the
 * calls under way may then go on.
 *
 * **Bound**: no client acts on one verdict for longer than both together, whatever it does.
 */
const CONNECTION_AGE_MS = 3_600_000;
const CONNECTION_GRACE_MS = 60_000;
/** Bytes of keying material, as evidence has them. */
const EXPORTER_BYTES = 32;
/** The longest time that a timer of Node holds. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const UNIMPLEMENTED = { status: STATUS.unimplemented, message: 'no method of this name is exposed' } as const;

const IGNORE = (): void => {};

let latest = 0;

/** The parts that all connections of a server share. */
export interface ConnectionOptions {
  readonly methods: ServedMethods;
  readonly streams: StreamLimit;
}

/** A connection from its first call to its end. */
export class CallConnection implements CallerConnection {
  readonly number: string = String(++latest);
  readonly isAttested: boolean;
  readonly #socket: TLSSocket;
  readonly #metered: MeteredSocket | undefined;
  readonly #session: ServerHttp2Session;
  readonly #options: ConnectionOptions;
  readonly #timers: NodeJS.Timeout[] = [];
  #openStreams = 0;
  #idleLooks = 0;
  #bytesBefore = -1;

  constructor(socket: TLSSocket, isAttested: boolean, options: ConnectionOptions) {
    this.isAttested = isAttested;
    this.#socket = socket;
    this.#options = options;
    const metered = /* layer: frames are counted (off: undefined) */ new MeteredSocket(socket);
    this.#metered = metered;
    this.#session = performServerHandshake(metered ?? socket, HTTP2);
    this.#session.on('stream', (stream, headers, _flags, raw) => this.#begin(stream, headers, raw));
    this.#session.on('error', () => {}); // 'close' follows
    socket.once('close', () => {
      for (const timer of this.#timers) clearTimeout(timer);
    });
    const age = CONNECTION_AGE_MS * (0.9 + 0.2 * Math.random());
    this.#timers.push(
      setInterval(() => this.#look(), LOOK_MS).unref(),
      setTimeout(() => this.retire(), age).unref(),
      setTimeout(() => socket.destroy(), age + CONNECTION_GRACE_MS).unref(),
    );
  }

  /**
   * Ends the connection once the calls under way have. The peer is told which call is the last, so
   * that it can make any later one elsewhere.
   */
  retire(): void {
    this.#session.close();
  }

  exporter(): Uint8Array {
    return this.#socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
  }

  answers(): void {
    if (this.#openStreams >= BUSY_STREAMS) this.#metered?.hold();
  }

  spare(stream: ServerHttp2Stream): void {
    this.#options.streams.delete(stream);
  }

  /** Ends the connection at once, with all its calls. */
  destroy(): void {
    this.#socket.destroy();
  }

  /**
   * Ends a connection that its peer has left, or has no use for.
   *
   * **Bound**: Node ends a connection in order, and waits until its peer has taken all that was
   * sent and has ended it too. A live peer answers the ping of the look before.
   */
  #look(): void {
    const { bytesRead, writableEnded } = this.#socket;
    // layer: silent connections end
    if (writableEnded || bytesRead === this.#bytesBefore) {
      this.#socket.destroy();
      return;
    }
    this.#bytesBefore = bytesRead;
    if (this.#session.closed || this.#session.destroyed) return;
    if (this.#openStreams === 0) this.#idleLooks++;
    // layer: idle connections end
    if (this.#idleLooks >= MAX_IDLE_LOOKS) this.retire();
    else this.#session.ping(() => {});
  }

  /** Begins a call, or refuses what is none. */
  #begin(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, raw: readonly string[]): void {
    stream.on('error', IGNORE); // 'close' follows
    if (stream.destroyed || stream.closed) return;
    const { methods, streams } = this.#options;
    this.#openStreams++;
    this.#idleLooks = 0;
    // layer: life of a stream
    streams.add(stream);
    const timeout = timerOf(headers['grpc-timeout']);
    const call = new GrpcCall(stream, this, {
      mayCompress: headers['grpc-encoding'] === 'gzip',
      timeout,
      fields: headers,
    });
    // Emitted once: a listener that takes itself off would cost more than all that it does.
    stream.on('close', () => {
      this.#openStreams--;
      streams.delete(stream);
      call.closed();
    });
    const refusal = requestRefusal(headers, raw);
    const method = methods.get(headers[':path'] ?? '');
    // layer: one table of requests
    if (refusal !== undefined) call.refuse(refusal);
    else if (method === undefined) call.refuse(UNIMPLEMENTED);
    else if (timeout !== undefined && timeout < 1) call.refuse(LATE);
    else if (method.streamsRequest) method.serve(call);
    else call.readOne(() => method.serve(call)); // layer: headers stay behind
  }
}

/** Milliseconds of a deadline; undefined without one, or if no timer can hold it. */
function timerOf(timeout: string | string[] | undefined): number | undefined {
  const milliseconds = timeout === undefined ? undefined : timeoutOf(String(timeout));
  return milliseconds !== undefined && milliseconds <= MAX_TIMER_MS ? milliseconds : undefined;
}
