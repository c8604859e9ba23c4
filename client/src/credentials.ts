/** Channel credentials for grpc-js: every connection of a channel shows its evidence before it carries HTTP/2. */

import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { ALPN } from '@enclaim/attestation/handshake';
import { type CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { ChannelError } from './errors.ts';
import { type Attestation, demandEvidence, type Expectations } from './exchange.ts';

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/** Time in milliseconds for TLS and the exchange. */
const HANDSHAKE_MS = 60_000;

/** Where the credentials report. */
export interface AttestationListener {
  attested(attestation: Attestation): void;
  refused(error: Error): void;
}

/** Credentials that let a connection through only after its verdict. Every reconnection is verified anew. */
export class AttestedCredentials extends ChannelCredentials {
  readonly #expectations: Expectations;
  readonly #listener: AttestationListener;

  constructor(expectations: Expectations, listener: AttestationListener) {
    super();
    this.#expectations = expectations;
    this.#listener = listener;
  }

  override compose(): ChannelCredentials {
    throw new TypeError('attested credentials are not composed: pass call credentials with the call');
  }

  override _isSecure(): boolean {
    return true;
  }

  /** Never equal to others: grpc-js would share their connections. */
  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(_target: unknown, _options: unknown, callCredentials?: CallCredentials): Connector {
    return {
      connect: async (socket) => ({ socket: await this.#attest(socket), secure: true }),
      waitForReady: async () => {},
      getCallCredentials: () => callCredentials ?? NO_CALL_CREDENTIALS,
      destroy: () => {},
    };
  }

  async #attest(socket: Socket): Promise<TLSSocket> {
    const timer = setTimeout(() => socket.destroy(new Error(`no evidence within ${HANDSHAKE_MS} ms`)), HANDSHAKE_MS);
    try {
      socket.setNoDelay(true);
      const tls = await openTls(socket);
      tls.on('error', () => tls.destroy());
      this.#listener.attested(await demandEvidence(tls, this.#expectations));
      return tls;
    } catch (error) {
      socket.destroy();
      this.#listener.refused(error as Error);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

const NO_CALL_CREDENTIALS = ChannelCredentials.createInsecure()
  ._createSecureConnector({ path: '' }, {})
  .getCallCredentials();

/** TLS 1.3 with the attested protocol. The certificate is not judged here: the evidence names its key. */
function openTls(socket: Socket): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const tls = connectTls({ socket, ALPNProtocols: [ALPN], minVersion: 'TLSv1.3', rejectUnauthorized: false });
    const fail = (cause: Error): void =>
      reject(new ChannelError('unreachable', `no TLS connection: ${cause.message}`, { cause }));
    tls.once('error', fail);
    tls.once('secureConnect', () => {
      tls.off('error', fail);
      if (tls.alpnProtocol === ALPN) resolve(tls);
      else reject(new ChannelError('protocol', `the server does not speak ${ALPN}`));
    });
  });
}
