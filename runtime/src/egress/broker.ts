/**
 * The egress broker: the only way out of the VM for data, and only to the policy's subprocessors.
 */

import { connect, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { HttpCall, MethodId, Policy } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { type ShownCertificate, shownCertificate } from './client-certificate.ts';
import { type Show, ShownCredential } from './credential.ts';
import { callGrpc } from './grpc.ts';
import { type Answer, callHttp } from './http.ts';
import { type EgressProtocol, identify, type Peer, peerOf } from './peer.ts';
import type { Resolve } from './resolver.ts';
import type { Vault } from './vault.ts';

export type { Answer } from './http.ts';

/** The parts of a broker. */
export interface EgressOptions {
  readonly subprocessors: Policy['subprocessors'];
  readonly resolve: Resolve;
  /** Values of the credentials that subprocessors are shown. Absent: none is there. */
  readonly vault?: Pick<Vault, 'get' | 'watch'>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Milliseconds from the query for an address to the last byte of the answer. Default: 30 000. */
  readonly timeout?: number;
}

/** Bytes of the largest message. */
export const MAX_OUTGOING_BYTES: number = 1024 * 1024;
/**
 * Whether the handler learns the outcome of a message (`told`). Each room has its own limit of
 * concurrent messages.
 *
 * **Leak**: under one limit, a handler could count its own refusals to learn how many releases of
 * records were sent.
 */
export type Room = 'told' | 'untold';

/** Concurrent calls of subprocessors, in each room. */
const MAX_CALLS = 128;
const NO_VAULT: Pick<Vault, 'get' | 'watch'> = { get: () => undefined, watch: () => () => {} };
/** As long as a call may last whose policy names no `wall`: models and slow peers take seconds. */
const TIMEOUT_MS = 30_000;

/**
 * Carries messages that were decided about. Keeps nothing between two messages: each has a
 * connection of its own.
 */
export class EgressBroker {
  readonly #peers: ReadonlyMap<string, Peer>;
  readonly #options: EgressOptions;
  readonly #calls: Record<Room, number> = { told: 0, untold: 0 };

  constructor(options: EgressOptions) {
    this.#options = options;
    const named = Object.entries(options.subprocessors);
    this.#peers = new Map(named.map(([name, subprocessor]) => [name, peerOf(name, subprocessor)]));
  }

  /**
   * Sends a message to a subprocessor and resolves with its answer.
   *
   * @throws RefusalError `grant` for another name; `secret` if the credential that the subprocessor
   * is shown has no value; `budget` if the message is too large or too many
   * calls are under way; `peer` if the subprocessor that the policy names is not reached or sends
   * no valid answer
   */
  async send(
    to: string,
    call: HttpCall | MethodId,
    message: Uint8Array,
    signal: AbortSignal,
    room: Room = 'told',
  ): Promise<Answer> {
    const peer = this.#peers.get(to);
    if (peer === undefined) throw new RefusalError('grant', 'there is no such subprocessor');
    // A refusal comes before a connection.
    this.#shown(peer);
    this.#certificate(peer);
    if (message.length > MAX_OUTGOING_BYTES)
      throw new RefusalError('budget', `a message of ${message.length} bytes, at most ${MAX_OUTGOING_BYTES}`);
    if (this.#calls[room] >= MAX_CALLS)
      throw new RefusalError('budget', `${MAX_CALLS} calls of others are under way`, { final: true });
    this.#calls[room]++;
    const timeout = this.#options.timeout ?? TIMEOUT_MS;
    const withdrawn = this.#withdrawn(peer);
    const late = AbortSignal.any([signal, AbortSignal.timeout(timeout), withdrawn.signal]);
    const closed: Promise<unknown>[] = [];
    const carried = this.#carry(peer, call, message, late, closed);
    // An abandoned call counts until its connections are closed.
    void Promise.allSettled([carried])
      .then(() => Promise.all(closed))
      .then(() => this.#calls[room]--);
    try {
      return await within(late, carried);
    } catch (cause) {
      // Says that it is not there.
      if (withdrawn.signal.aborted) this.#certificate(peer);
      if (cause instanceof RefusalError) throw cause;
      throw new RefusalError('peer', `${to} did not answer`, { cause });
    } finally {
      withdrawn.end();
    }
  }

  /** @param closed takes a promise for the end of each connection */
  async #carry(
    peer: Peer,
    call: HttpCall | MethodId,
    message: Uint8Array,
    signal: AbortSignal,
    closed: Promise<unknown>[],
  ): Promise<Answer> {
    const addresses = await this.#options.resolve(peer.host);
    signal.throwIfAborted();
    // The caller of this destroys the connection if it throws.
    const secure = (protocol: EgressProtocol) => async (socket: Socket) => {
      if (!socket.closed) closed.push(new Promise((resolve) => socket.once('close', resolve)));
      // A listener added after the signal was given would not be called.
      signal.throwIfAborted();
      signal.addEventListener('abort', () => socket.destroy(), { once: true });
      return identify(socket, peer, protocol, this.#options.now(), this.#certificate(peer));
    };
    const show: Show = () => this.#shown(peer);
    if (typeof call === 'string')
      return callGrpc(addresses, peer, call, message, { identify: secure('h2'), show, signal });
    const tls = await first(addresses, peer.port, secure('http/1.1'), signal);
    return callHttp(tls, peer, call, message, { show, signal });
  }

  /**
   * The certificate for the handshake with a peer; undefined if it is shown none.
   *
   * @throws RefusalError `secret`
   */
  #certificate({ name, credential }: Peer): ShownCertificate | undefined {
    if (credential === undefined || !('certificate' in credential)) return undefined;
    const { vault = NO_VAULT, now } = this.#options;
    return shownCertificate(credential.certificate, vault, `/subprocessors/${name}/credential`, now());
  }

  /** Aborts when the certificate that a peer is shown is taken away: connections end with it. */
  #withdrawn({ credential }: Peer): { readonly signal: AbortSignal; end(): void } {
    const { vault = NO_VAULT } = this.#options;
    const gone = new AbortController();
    if (credential === undefined || !('certificate' in credential)) return { signal: gone.signal, end: () => {} };
    const end = vault.watch(credential.certificate, () => gone.abort());
    return { signal: gone.signal, end };
  }

  /** @throws RefusalError `secret` */
  #shown({ name, credential }: Peer): ShownCredential | undefined {
    if (credential === undefined || 'certificate' in credential) return undefined;
    const { vault = NO_VAULT } = this.#options;
    return new ShownCredential(credential, vault, `/subprocessors/${name}/credential`);
  }
}

/** A connection to the first address at which the peer is. */
async function first(
  addresses: readonly string[],
  port: number,
  secure: (socket: Socket) => Promise<TLSSocket>,
  signal: AbortSignal,
): Promise<TLSSocket> {
  let last: unknown = new Error('there is no address');
  for (const host of addresses) {
    const socket = connect({ host, port, signal });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('connect', resolve);
      });
      socket.setNoDelay(true);
      return await secure(socket);
    } catch (error) {
      socket.destroy();
      last = error;
    }
  }
  throw last;
}

/** The result, or an error once the time for it is over. */
async function within<T>(signal: AbortSignal, result: Promise<T>): Promise<T> {
  result.catch(() => {});
  const over = Promise.withResolvers<never>();
  const end = (): void => over.reject(new Error('the time for it is over'));
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([result, over.promise]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
