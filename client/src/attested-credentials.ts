/**
 * Channel credentials for grpc-js: every connection of a channel shows its evidence before it
 * carries HTTP/2.
 */

import type { Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { ALPN } from '@enclaim/attestation/handshake';
import { type CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import type { Attestation } from './attestation.ts';
import { ChannelError } from './errors.ts';
import { demandEvidence, type Expectations } from './handshake.ts';

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/** Where the credentials report. */
export interface AttestationListener {
  /**
   * A connection showed what the client demands. `peer` is what `getAuthContext()` names in calls
   * over this very connection.
   */
  attested(attestation: Attestation, peer: PeerCertificate): void;
  refused(error: Error): void;
}

/**
 * Credentials that let a connection through only after its verdict. Every reconnection is verified
 * anew.
 */
export class AttestedCredentials extends ChannelCredentials {
  readonly #expectations: Expectations;
  readonly #timeout: number;
  readonly #listener: AttestationListener;
  /** Ends each connection that has not shown its evidence yet. */
  readonly #underWay = new Set<(why: ChannelError) => void>();
  #ended = false;

  /** @param timeout milliseconds for TLS and the exchange together */
  constructor(expectations: Expectations, timeout: number, listener: AttestationListener) {
    super();
    this.#expectations = expectations;
    this.#timeout = timeout;
    this.#listener = listener;
  }

  /** Ends what is under way: the caller waits for its evidence no longer. */
  end(): void {
    this.#ended = true;
    for (const giveUp of this.#underWay) giveUp(new ChannelError('closed', 'the channel was closed'));
  }

  override compose(): ChannelCredentials {
    throw new TypeError('attested credentials are not composed: pass call credentials with the call');
  }

  override _isSecure(): boolean {
    return true;
  }

  /** Always false. Without this, grpc-js would share connections between channels. */
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
    if (this.#ended) {
      socket.destroy();
      throw new ChannelError('closed', 'the channel was closed');
    }
    const late = new ChannelError('timeout', `no evidence within ${this.#timeout} ms`);
    const expired = Promise.withResolvers<never>();
    // However slowly the bytes trickle: the whole exchange has one deadline.
    const timer = setTimeout(() => expired.reject(late), this.#timeout);
    this.#underWay.add(expired.reject);
    try {
      return await Promise.race([this.#exchange(socket), expired.promise]);
    } catch (error) {
      socket.destroy();
      this.#listener.refused(error as Error);
      throw error;
    } finally {
      clearTimeout(timer);
      this.#underWay.delete(expired.reject);
    }
  }

  async #exchange(socket: Socket): Promise<TLSSocket> {
    socket.setNoDelay(true);
    const tls = await openTls(socket);
    tls.on('error', () => tls.destroy());
    const attestation = await demandEvidence(tls, this.#expectations);
    if (socket.destroyed) throw new ChannelError('unreachable', 'the connection ended with the handshake');
    this.#listener.attested(attestation, nameConnection(tls));
    return tls;
  }
}

/**
 * One object that stands for this connection: grpc-js hands it to every call as
 * `getAuthContext().sslPeerCertificate`. By it a call is held against the evidence of the
 * connection that carried it, and of no other.
 */
function nameConnection(tls: TLSSocket): PeerCertificate {
  const peer = tls.getPeerCertificate();
  tls.getPeerCertificate = (() => peer) as TLSSocket['getPeerCertificate'];
  tls.authorized = true; // by the evidence; grpc-js passes nothing on of a socket that is not
  return peer;
}

const NO_CALL_CREDENTIALS = ChannelCredentials.createInsecure()
  ._createSecureConnector({ path: '' }, {})
  .getCallCredentials();

/**
 * Opens TLS 1.3 with the attested protocol. The certificate is not judged here, because the
 * evidence names its key.
 * @throws ChannelError
 */
export function openTls(socket: Socket): Promise<TLSSocket> {
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
