/**
 * One unary gRPC call on connections of its own. None of them carries a byte before its peer is
 * identified.
 */

import { isIPv4, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { MethodId } from '@enclaim/policy-schema/admission';
import {
  type CallCredentials,
  ChannelCredentials,
  Client,
  credentials,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { RefusalError } from '../errors.ts';
import type { Show, ShownCredential } from './credential.ts';
import { type Answer, MAX_ANSWER_BYTES } from './http.ts';
import type { Peer } from './peer.ts';

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/** Options by which neither the environment nor DNS nor an earlier call decides about a channel. */
export const FIXED: Readonly<Record<string, number>> = {
  'grpc.enable_http_proxy': 0,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
};

/**
 * Calls a method.
 *
 * @param addresses addresses to connect to, one after the other
 * @param identify authenticates the peer on a connection, or throws
 * @param show gives the credential, once for each connection that is identified
 * @throws RefusalError `peer` if the peer is at none of them; `secret`
 */
export async function callGrpc(
  addresses: readonly string[],
  { host, port }: Peer,
  id: MethodId,
  message: Uint8Array,
  options: {
    readonly identify: (socket: Socket) => Promise<TLSSocket>;
    readonly show: Show;
    readonly signal: AbortSignal;
  },
): Promise<Answer> {
  const identified = new IdentifiedCredentials(options);
  const target = targetOf(addresses, port);
  const authority = port === 443 ? host : `${host}:${port}`;
  const client = new Client(target, identified, { ...FIXED, 'grpc.default_authority': authority });
  const same = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise<Answer>((resolve, reject) => {
      const done = (error: ServiceError | null, body?: Buffer): void => {
        // A status made by grpc-js must not pass for one of the peer.
        if (!identified.reached) reject(identified.refusal ?? new Error('nobody was reached'));
        else resolve(error === null ? taken(body ?? new Uint8Array(), identified.shown) : failed(error));
      };
      const sent = Buffer.from(message);
      const call = client.makeUnaryRequest(`/${id}`, same, same, sent, new Metadata(), done);
      if (options.signal.aborted) call.cancel();
      options.signal.addEventListener('abort', () => call.cancel(), { once: true });
    });
  } finally {
    client.close();
    identified.close();
  }
}

/** Addresses as grpc-js takes them. Those of IPv4 alone, where there are some. */
export function targetOf(addresses: readonly string[], port: number): string {
  const v4 = addresses.filter((address) => isIPv4(address));
  return v4.length > 0
    ? `ipv4:${v4.map((address) => `${address}:${port}`).join(',')}`
    : `ipv6:${addresses.map((address) => `[${address}]:${port}`).join(',')}`;
}

function taken(body: Uint8Array, shown: ShownCredential | undefined): Answer {
  return { status: 'ok', body, repeatsSecret: shown?.isIn(body) ?? false };
}

function failed({ code }: ServiceError): Answer {
  return { status: code, body: new Uint8Array(), repeatsSecret: false };
}

/**
 * Lets a connection through once its peer is identified; every further connection is identified
 * anew.
 */
export class IdentifiedCredentials extends ChannelCredentials {
  /** Refusal of the last connection that was not let through. */
  refusal: RefusalError | undefined;
  /** The credential of the last connection that was let through. */
  shown: ShownCredential | undefined;
  readonly #identify: (socket: Socket) => Promise<TLSSocket>;
  readonly #show: Show;
  readonly #open = new Set<TLSSocket>();
  #closed = false;

  constructor({ identify, show }: { identify: (socket: Socket) => Promise<TLSSocket>; show: Show }) {
    super();
    this.#identify = identify;
    this.#show = show;
  }

  /** Whether a connection has been let through. */
  get reached(): boolean {
    return this.#open.size > 0;
  }

  /** Ends every connection, including those that grpc-js starts or has identified later. */
  close(): void {
    this.#closed = true;
    for (const tls of this.#open) tls.destroy();
  }

  override compose(): ChannelCredentials {
    throw new TypeError('these credentials are not composed');
  }

  override _isSecure(): boolean {
    return true;
  }

  /** Equal only to itself. Otherwise grpc-js would share connections between calls. */
  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(): Connector {
    return {
      connect: async (socket) => ({ socket: await this.#secure(socket), secure: true }),
      waitForReady: async () => {},
      getCallCredentials: () => this.#ofCalls(),
      destroy: () => {},
    };
  }

  /** The credential as grpc-js asks for it, once a connection is let through. */
  #ofCalls(): CallCredentials {
    const { shown } = this;
    if (shown === undefined) return credentials.createEmpty();
    const metadata = new Metadata();
    metadata.set(shown.header, shown.value);
    return credentials.createFromMetadataGenerator((_, give) => give(null, metadata));
  }

  async #secure(socket: Socket): Promise<TLSSocket> {
    try {
      if (this.#closed) throw new Error('the call is over');
      const tls = await this.#identify(socket);
      if (this.#closed) throw new Error('the call is over');
      this.shown = this.#show();
      this.#open.add(tls);
      return tls;
    } catch (error) {
      socket.destroy();
      if (error instanceof RefusalError) this.refusal = error;
      throw error;
    }
  }
}
