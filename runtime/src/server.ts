/** The server: TLS 1.3, the attested handshake, then gRPC on the same connection. */

import { createServer, type TLSSocket, type Server as TlsServer } from 'node:tls';
import { ALPN } from '@enclaim/attestation/handshake';
import { RECEIPT_TRAILER } from '@enclaim/attestation/receipt';
import type { ExposedMethod } from '@enclaim/policy-schema/admission';
import {
  type ConnectionInjector,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { Admission } from './admission.ts';
import { type Calls, STATUS } from './calls.ts';
import { type Attested, attestConnection } from './handshake.ts';
import { HealthService } from './health.ts';
import { rawMethod } from './raw-service.ts';
import { ReflectionService } from './reflection.ts';

/** What a server is made of. */
export interface ServerOptions {
  /** PEM of the TLS key and of its certificate. */
  readonly tls: { readonly key: string; readonly certificate: string };
  readonly admission: Admission;
  readonly calls: Calls;
  readonly attested: Attested;
}

const MOST_CONNECTIONS = 4096;
const LARGEST_MESSAGE = 4 * 1024 * 1024;
const LONGEST_CALL_MS = 30_000;
const DRAIN_MS = 5_000;

/** Serves the exposed methods, health and reflection; nothing else is registered. */
export class AttestedServer {
  readonly #grpc: Server;
  readonly #injector: ConnectionInjector;
  readonly #tls: TlsServer;
  readonly #health: HealthService;

  constructor({ tls, admission, calls, attested }: ServerOptions) {
    this.#grpc = new Server({
      'grpc.max_receive_message_length': LARGEST_MESSAGE,
      'grpc.max_send_message_length': LARGEST_MESSAGE,
      'grpc.max_concurrent_streams': 256,
      'grpc.enable_channelz': 0,
    });
    const services = Map.groupBy(admission.exposed, ({ descriptor }) => descriptor.parent.typeName);
    this.#health = new HealthService(services.keys());
    this.#grpc.addService(this.#health.definition, this.#health.implementation);
    const reflection = new ReflectionService(admission.exposed);
    this.#grpc.addService(reflection.definition, reflection.implementation);
    for (const methods of services.values()) {
      const definition = Object.fromEntries(methods.map(({ descriptor }) => [descriptor.name, rawMethod(descriptor)]));
      const handlers = Object.fromEntries(methods.map((method) => [method.descriptor.name, unary(calls, method)]));
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
    this.#tls.maxConnections = MOST_CONNECTIONS;
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

  /** Takes no more connections, and gives calls under way a few seconds to end. */
  async close(): Promise<void> {
    this.#tls.close();
    this.#injector.drain(DRAIN_MS);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        this.#grpc.forceShutdown();
        resolve();
      }, DRAIN_MS);
      this.#grpc.tryShutdown(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#injector.destroy();
  }

  async #accept(socket: TLSSocket, attested: Attested): Promise<void> {
    socket.on('error', () => socket.destroy());
    try {
      if (socket.alpnProtocol === ALPN) await attestConnection(socket, attested);
      if (!socket.destroyed) this.#injector.injectConnection(socket);
    } catch {
      socket.destroy();
    }
  }
}

/** One method as grpc-js calls it: bytes in, bytes and a receipt out. */
function unary(
  calls: Calls,
  method: ExposedMethod,
): (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => void {
  return (call, done) => {
    const signals = [AbortSignal.timeout(LONGEST_CALL_MS), cancellation(call)];
    void calls.answer(method, call.request, AbortSignal.any(signals)).then(({ status, message, response, receipt }) => {
      const trailer = new Metadata();
      if (receipt !== undefined) trailer.set(RECEIPT_TRAILER, Buffer.from(receipt));
      if (status === STATUS.ok) done(null, Buffer.from(response), trailer);
      else done({ code: status, details: message, metadata: trailer });
    });
  };
}

function cancellation(call: ServerUnaryCall<Buffer, Buffer>): AbortSignal {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort());
  return controller.signal;
}
