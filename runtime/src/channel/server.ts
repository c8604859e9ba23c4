/** The server: TLS 1.3, the attested handshake, then gRPC on the same connection. */

import type { EventEmitter } from 'node:events';
import type { ServerOptions as Http2Options } from 'node:http2';
import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { MAX_MESSAGE_BYTES, MAX_METADATA_BYTES } from '@enclaim/attestation/grpc-request';
import { ALPN } from '@enclaim/attestation/handshake';
import { MeteredSocket } from '@enclaim/attestation/metered-socket';
import { RECEIPT_TRAILER } from '@enclaim/attestation/receipt';
import { type ExposedMethod, millisecondsOf } from '@enclaim/policy-schema/admission';
import {
  type ConnectionInjector,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Admission } from '../admission/admission.ts';
import type { Answer } from '../call/caller.ts';
import type { Calls } from '../call/calls.ts';
import { STATUS_DETAILS } from '../call/status-details.ts';
import { LIMITS } from '../limits.ts';
import { STATUS } from '../refusals.ts';
import { unfolded } from './compressed-messages.ts';
import { type Attested, attestConnection } from './handshake.ts';
import { HealthService } from './health.ts';
import { connectionOf, isAttested, markAttested, plainCalls, refuseUndeclared } from './plain-calls.ts';
import { rawMethod } from './raw-service.ts';
import { ReflectionService } from './reflection.ts';
import { type RequestHalf, requestMessages } from './request-messages.ts';
import { RunningCalls } from './running-calls.ts';
import { limitStreams } from './stream-limit.ts';

/** The parts of a server. */
export interface ServerOptions {
  /** PEM of the TLS key and of its certificate. */
  readonly tls: { readonly key: string; readonly certificate: string };
  readonly admission: Admission;
  readonly calls: Calls;
  readonly attested: Attested;
}

const MAX_CONNECTIONS = 4096;
/** Calls of one connection at once, and the memory that HTTP/2 may hold for them. */
const MAX_STREAMS = 64;
const SESSION_MEGABYTES = 64;
const IDLE_MS = 300_000;
/**
 * Milliseconds for which a connection may start calls, a tenth more or less, and for which the
 * calls under way may then go on.
 *
 * **Bound**: no client acts on one verdict for longer than both together, whatever it does.
 */
const CONNECTION_AGE_MS = 3_600_000;
const CONNECTION_GRACE_MS = 60_000;
/** Bytes of a response stream that its caller may not have taken yet while more are made. */
const MAX_UNTAKEN_BYTES = 64 * 1024;
/**
 * Milliseconds that calls under way get when the server closes; then those for telling the rest.
 */
const DRAIN_MS = 5_000;
const CUT_MS = 2_500;
/** Answer to a call that failed with an unexpected error. */
const LOST: Answer = { status: STATUS.internal, message: 'the call failed', response: new Uint8Array() };

/** Serves the exposed methods, health and reflection; nothing else is registered. */
export class AttestedServer {
  readonly #grpc: Server;
  readonly #streams = new DisposableStack();
  readonly #injector: ConnectionInjector;
  readonly #tls: TlsServer;
  readonly #health: HealthService;
  readonly #running = new RunningCalls();
  /** Connections during their handshake, and those that carry calls. */
  readonly #entering = new Set<TLSSocket>();
  readonly #entered = new Set<TLSSocket>();
  readonly #empty = Promise.withResolvers<void>();
  #closed: Promise<number> | undefined;

  constructor({ tls, admission, calls, attested }: ServerOptions) {
    const longest = Math.max(...admission.exposed.map((method) => longestOf(admission, method)));
    this.#streams.use(limitStreams(Math.max(LIMITS.stream, longest + LIMITS.taking)));
    this.#streams.use(plainCalls());
    this.#grpc = new Server({
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_concurrent_streams': MAX_STREAMS,
      'grpc-node.max_session_memory': SESSION_MEGABYTES,
      'grpc.max_connection_idle_ms': IDLE_MS,
      'grpc.max_connection_age_ms': CONNECTION_AGE_MS,
      'grpc.max_connection_age_grace_ms': CONNECTION_GRACE_MS,
      'grpc.keepalive_time_ms': IDLE_MS / 5,
      'grpc.enable_channelz': 0,
      interceptors: [refuseUndeclared],
    });
    announceMetadata(this.#grpc);
    const services = Map.groupBy(admission.exposed, ({ descriptor }) => descriptor.parent.typeName);
    this.#health = new HealthService(services.keys());
    this.#grpc.addService(this.#health.definition, this.#health.implementation);
    const reflection = new ReflectionService(admission.exposed);
    this.#grpc.addService(reflection.definition, reflection.implementation);
    this.#grpc.addService(reflection.olderDefinition, reflection.implementation);
    for (const methods of services.values()) {
      const definition = Object.fromEntries(methods.map(({ descriptor }) => [descriptor.name, rawMethod(descriptor)]));
      const handlers = Object.fromEntries(
        methods.map((method) => [
          method.descriptor.name,
          served(calls, method, this.#running, longestOf(admission, method)),
        ]),
      );
      this.#grpc.addService(definition, handlers);
    }
    this.#injector = this.#grpc.createConnectionInjector(ServerCredentials.createInsecure());
    this.#tls = createServer({
      key: tls.key,
      cert: tls.certificate,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [ALPN, 'h2'],
      handshakeTimeout: 15_000,
      noDelay: true,
    });
    this.#tls.maxConnections = MAX_CONNECTIONS;
    this.#tls.on('secureConnection', (socket: TLSSocket) => void this.#accept(socket, attested));
    this.#tls.on('tlsClientError', (_error, socket) => socket.destroy());
  }

  /** Listens and resolves with the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#tls.once('error', reject);
      this.#tls.listen(port, host, () => {
        this.#tls.off('error', reject);
        const address = this.#tls.address();
        resolve(typeof address === 'object' && address !== null ? address.port : port);
      });
    });
  }

  /** Health turns to SERVING. */
  serve(): void {
    this.#health.serve();
  }

  /** Health turns to NOT_SERVING; calls are still answered. */
  pause(): void {
    this.#health.pause();
  }

  /**
   * Closes the server. Health says so first, no new call is taken, calls under way have a few
   * seconds, and those left then are ended by a status. Resolves within a limit, with the number of
   * calls that were cut off.
   */
  close(): Promise<number> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<number> {
    this.#health.stop();
    this.#tls.close();
    for (const socket of this.#entering) socket.destroy();
    const ended = this.#running.close();
    await within(DRAIN_MS, ended);
    const cut = this.#running.cut();
    await within(CUT_MS, ended);
    // Drained only now: grpc-js destroys a connection that it was told to close and that is due for
    // a keepalive ping.
    this.#injector.drain(CUT_MS);
    if (this.#entered.size === 0) this.#empty.resolve();
    await within(CUT_MS, this.#empty.promise);
    this.#streams.dispose();
    this.#injector.destroy();
    this.#grpc.forceShutdown();
    return cut;
  }

  async #accept(socket: TLSSocket, attested: Attested): Promise<void> {
    socket.on('error', () => socket.destroy());
    this.#entering.add(socket);
    try {
      const asks = socket.alpnProtocol === ALPN;
      if (asks) await attestConnection(socket, attested);
      if (this.#closed !== undefined) socket.destroy();
      if (!socket.destroyed) this.#enter(socket, asks);
    } catch {
      socket.destroy();
    } finally {
      this.#entering.delete(socket);
    }
  }

  #enter(socket: TLSSocket, isAttested: boolean): void {
    this.#entered.add(socket);
    const looks = setInterval(endIfSilent(socket), IDLE_MS / 2).unref();
    socket.once('close', () => {
      clearInterval(looks);
      this.#entered.delete(socket);
      if (this.#closed !== undefined && this.#entered.size === 0) this.#empty.resolve();
    });
    const connection = new MeteredSocket(socket);
    if (isAttested) markAttested(connection);
    this.#injector.injectConnection(connection);
  }
}

/**
 * Limits the size of request headers. grpc-js has no option for it, so this changes the options
 * from which it makes its HTTP/2 server.
 */
function announceMetadata(grpc: Server): void {
  const { commonServerOptions } = grpc as unknown as { readonly commonServerOptions?: Http2Options };
  if (commonServerOptions === undefined) throw new TypeError('grpc-js keeps its options elsewhere');
  commonServerOptions.settings = { ...commonServerOptions.settings, maxHeaderListSize: MAX_METADATA_BYTES };
}

/**
 * Returns a check to repeat on a connection that carries calls. It destroys a connection that the
 * server has ended, or that was silent since the last check.
 *
 * **Bound**: Node ends a connection in order, and waits until its peer has taken all that was sent
 * and has ended it too. A live peer answers the keepalive pings, which come more often than the
 * check.
 */
function endIfSilent(socket: TLSSocket): () => void {
  let before = 0;
  return () => {
    if (socket.writableEnded || socket.bytesRead === before) socket.destroy();
    before = socket.bytesRead;
  };
}

/** Waits for a promise, up to a limit. */
function within(milliseconds: number, something: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  void something.then(resolve);
  return promise.finally(() => clearTimeout(timer));
}

/** The common part of the four kinds of call that grpc-js knows. */
type AnyCall = EventEmitter &
  Partial<ServerDuplexStream<Buffer, Buffer>> & { readonly request?: Buffer; readonly metadata: Metadata };

/** Milliseconds that a call may last, by the policy if it has a limit. */
function longestOf({ policy }: Admission, { id }: ExposedMethod): number {
  const { resources } = policy.governance;
  if (resources === 'none') return LIMITS.call;
  const own = Object.hasOwn(resources.methods, id) ? resources.methods[id] : undefined;
  // The governor ends the call at its wall time and names the policy's rule. The addition covers
  // what comes before and after.
  return Math.min(LIMITS.callOfPolicy, millisecondsOf((own ?? resources).wall) + LIMITS.call);
}

/** One method as grpc-js calls it: messages in, messages and a receipt out. */
function served(
  calls: Calls,
  method: ExposedMethod,
  running: RunningCalls,
  longest: number,
): (call: AnyCall, done?: sendUnaryData<Buffer>) => void {
  return (call, done) => {
    const over = running.begin();
    const { signal } = over;
    const timer = setTimeout(() => over.abort(), longest);
    // grpc-js emits this for every call in the end.
    call.on('cancelled', () => running.leave(over));
    const caller = {
      next: unfolded(messagesOf(call)),
      send: senderOf(call, signal),
      signal,
      connection: connectionOf(call),
      attested: isAttested(call),
    };
    void calls
      .answer(method, caller)
      .catch(() => LOST)
      .then((answer) => {
        clearTimeout(timer);
        running.end(over);
        say(answer, call, done);
      })
      // This caller can be told nothing, and its stream ends by itself. The other calls go on.
      .catch(() => {});
  };
}

function say(
  { status, message, response, receipt, details }: Answer,
  call: AnyCall,
  done: sendUnaryData<Buffer> | undefined,
): void {
  const trailer = new Metadata();
  if (receipt !== undefined) trailer.set(RECEIPT_TRAILER, buffer(receipt));
  if (details !== undefined) trailer.set(STATUS_DETAILS, buffer(details));
  const refusal = { code: status, details: message, metadata: trailer };
  if (status === STATUS.ok && done !== undefined) done(null, buffer(response), trailer);
  else if (status === STATUS.ok) call.end?.(trailer);
  else if (done !== undefined) done(refusal);
  else call.emit('error', refusal);
}

/** The message of a unary request, or those of a stream. */
function messagesOf(call: AnyCall): () => Promise<Uint8Array | undefined> {
  const { request } = call;
  if (request === undefined) return requestMessages(call as RequestHalf);
  const once = [request].values();
  return async () => once.next().value;
}

/**
 * Returns a function that writes messages, each no sooner than the caller has taken nearly all
 * before it. Without this, grpc-js would hold sixteen of them, of any length. A message counts as
 * taken once HTTP/2 had room for it.
 */
function senderOf(call: AnyCall, signal: AbortSignal): (message: Uint8Array) => Promise<void> {
  let waiting = 0;
  return async (message) => {
    signal.throwIfAborted();
    const taken = Promise.withResolvers<void>();
    taken.promise.catch(() => {}); // the caller may have left too late for this message to matter
    waiting += message.length;
    const goesOn = call.write?.(buffer(message), (error?: Error | null) => {
      waiting -= message.length;
      if (error) taken.reject(error);
      else taken.resolve();
    });
    if (goesOn !== false && waiting <= MAX_UNTAKEN_BYTES) return;
    const leave = (): void => taken.reject(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    await taken.promise.finally(() => signal.removeEventListener('abort', leave));
  };
}

/** The same bytes as grpc-js wants them. */
function buffer({ buffer, byteOffset, length }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, length);
}
