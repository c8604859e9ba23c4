/** The server: TLS 1.3, the attested handshake, then gRPC on the same connection. */

import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { ALPN } from '@enclaim/attestation/handshake';
import { KeeperDescriptor } from '@enclaim/attestation/keeper';
import { Secrets } from '@enclaim/attestation/secrets';
import { SuccessionDescriptor } from '@enclaim/attestation/succession';
import type { Admission } from '../admission/admission.ts';
import type { Calls } from '../call/calls.ts';
import { LIMITS } from '../limits.ts';
import type { Successions } from '../storage/sealed/successions.ts';
import { CallConnection } from './connection.ts';
import { exposedMethods, longestOf } from './exposed-methods.ts';
import { type Attested, attestConnection } from './handshake.ts';
import { HealthService } from './health.ts';
import { KeeperService, type KeepingSource } from './keeper-service.ts';
import { LogService, type LogSource } from './log-service.ts';
import { ReflectionService } from './reflection.ts';
import { RunningCalls } from './running-calls.ts';
import { SecretsService, type SecretsSource } from './secrets-service.ts';
import type { ServedMethods } from './served-methods.ts';
import { StreamLimit } from './stream-limit.ts';
import { SuccessionService } from './succession-service.ts';

/** The parts of a server. */
export interface ServerOptions {
  /** PEM of the TLS key and of its certificate. */
  readonly tls: { readonly key: string; readonly certificate: string };
  readonly admission: Admission;
  readonly calls: Calls;
  readonly attested: Attested;
  /** The log as its service reads it. Absent: the service has no checkpoint. */
  readonly log?: LogSource;
  /** Secrets as their owner brings them. Absent: the policy names none, and none are served. */
  readonly secrets?: SecretsSource | undefined;
  /** Absent: no other launch takes the state over, and none is handed in. */
  readonly successions?: Successions | undefined;
  /** Keys of other machines. Absent: none are kept. */
  readonly keeping?: KeepingSource | undefined;
}

const MAX_CONNECTIONS = 4096;
const TLS_HANDSHAKE_MS = 15_000;
/**
 * Milliseconds that calls under way get when the server closes; then those for telling the rest.
 */
const DRAIN_MS = 5_000;
const CUT_MS = 2_500;

/**
 * Serves the exposed methods, health, reflection, the log, secrets where the policy names some,
 * successions where it has any, and keys of other machines where it keeps them; nothing else is
 * registered.
 */
export class AttestedServer {
  readonly #methods: ServedMethods;
  readonly #streams: StreamLimit;
  readonly #tls: TlsServer;
  readonly #health: HealthService;
  readonly #log: LogService;
  readonly #secrets: SecretsService | undefined;
  readonly #running: RunningCalls;
  /** Connections during their handshake, and those that carry calls. */
  readonly #entering = new Set<TLSSocket>();
  readonly #entered = new Set<CallConnection>();
  readonly #empty = Promise.withResolvers<void>();
  #closed: Promise<number> | undefined;

  constructor({ tls, admission, calls, attested, log, secrets, successions, keeping }: ServerOptions) {
    const lives = admission.exposed.map((method) => longestOf(admission, method));
    this.#streams = new StreamLimit(Math.max(LIMITS.stream, Math.max(...lives) + LIMITS.taking));
    this.#running = new RunningCalls(Math.min(LIMITS.call, ...lives));
    this.#health = new HealthService(admission.exposed.map(({ descriptor }) => descriptor.parent.typeName));
    this.#log = new LogService(log);
    this.#secrets = secrets && new SecretsService(secrets);
    this.#methods = new Map([
      ...exposedMethods(admission, calls, this.#running),
      ...this.#health.methods,
      ...this.#log.methods,
      ...(this.#secrets?.methods ?? []),
      ...(successions === undefined ? [] : new SuccessionService(successions).methods),
      ...(keeping === undefined ? [] : new KeeperService(keeping).methods),
      ...new ReflectionService(admission.exposed, [
        ...(secrets === undefined ? [] : [Secrets]),
        ...(successions === undefined ? [] : [SuccessionDescriptor]),
        ...(keeping === undefined ? [] : [KeeperDescriptor]),
      ]).methods,
    ]);
    this.#tls = createServer({
      key: tls.key,
      cert: tls.certificate,
      // layer: TLS 1.3 and nothing older
      minVersion: 'TLSv1.3',
      ALPNProtocols: [ALPN, 'h2'],
      // layer: time for the TLS handshake
      handshakeTimeout: TLS_HANDSHAKE_MS,
      noDelay: true,
    });
    // layer: number of connections
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
    this.#log.stop();
    this.#tls.close();
    for (const socket of this.#entering) socket.destroy();
    const ended = this.#running.close();
    await within(DRAIN_MS, Promise.all([ended, this.#secrets?.stop()]));
    const cut = this.#running.cut();
    await within(CUT_MS, ended);
    for (const connection of this.#entered) connection.retire();
    if (this.#entered.size === 0) this.#empty.resolve();
    await within(CUT_MS, this.#empty.promise);
    for (const connection of this.#entered) connection.destroy();
    this.#streams[Symbol.dispose]();
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
    const connection = new CallConnection(socket, isAttested, { methods: this.#methods, streams: this.#streams });
    this.#entered.add(connection);
    socket.once('close', () => {
      this.#entered.delete(connection);
      if (this.#closed !== undefined && this.#entered.size === 0) this.#empty.resolve();
    });
  }
}

/** Waits for a promise, up to a limit. */
function within(milliseconds: number, something: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  void something.then(() => resolve());
  return promise.finally(() => clearTimeout(timer));
}
