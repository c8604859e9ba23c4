/**
 * One connection to the machine that keeps this one's keys: attested both ways, for one question.
 */

import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { create, type DescMethodUnary, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Authenticated, References } from '@enclaim/attestation';
import { EXPORTER_LABEL } from '@enclaim/attestation/batch';
import { CHALLENGE_BYTES, KeeperDescriptor, type KeeperQuestion, keeperNonce } from '@enclaim/attestation/keeper';
import { Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import { FIXED, IdentifiedCredentials, targetOf } from './grpc.ts';
import { identifyAttested, type Peer } from './peer.ts';
import type { Resolve } from './resolver.ts';

/** Milliseconds for an answer: the keeper may have to wait a minute for an epoch of its own. */
const ANSWER_MS = 90_000;
const EXPORTER_BYTES = 32;
/** Characters of a reason that the keeper gives. */
const MAX_REASON_CHARS = 500;

/** How the keeper is reached, and what it is shown. */
export interface KeeperLinkOptions {
  readonly keeper: Peer & { readonly references: References };
  readonly resolve: Resolve;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Evidence of this boot for a nonce and a connection, as an `enclaim.v1.Evidence`. */
  readonly show: (nonce: Uint8Array, exporter: Uint8Array) => Promise<Uint8Array>;
}

/** A status that the keeper answered with. */
export class KeeperStatus extends Error {
  readonly status: number;

  constructor({ code, details }: Pick<ServiceError, 'code' | 'details'>) {
    super(details);
    this.status = code;
  }
}

/** Statuses of gRPC by which the keeper refuses for good: nothing of the question was done. */
const FINAL: ReadonlySet<number> = new Set([STATUS.aborted, STATUS.permissionDenied, STATUS.failedPrecondition]);

/** Whether an error of a link says that the keeper refused for good. */
export function isFinal({ cause }: Error): boolean {
  return cause instanceof KeeperStatus && FINAL.has(cause.status);
}

/** Whether an error of a link says that the keeper had no room for the question. */
export function isBusy({ cause }: Error): boolean {
  return cause instanceof KeeperStatus && cause.status === STATUS.resourceExhausted;
}

/** A connection, until it is closed. */
export class KeeperLink {
  readonly #client: Client;
  readonly #credentials: IdentifiedCredentials;
  readonly #options: KeeperLinkOptions;
  readonly #sockets = new Set<Socket>();
  #connected: { readonly tls: TLSSocket; readonly shown: Authenticated } | undefined;

  private constructor(options: KeeperLinkOptions, addresses: readonly string[]) {
    const { keeper, now } = options;
    this.#options = options;
    this.#credentials = new IdentifiedCredentials({
      identify: async (socket) => {
        this.#sockets.add(socket);
        this.#connected = await identifyAttested(socket, keeper, now());
        return this.#connected.tls;
      },
      show: () => undefined,
    });
    this.#client = new Client(targetOf(addresses, keeper.port), this.#credentials, {
      ...FIXED,
      'grpc.default_authority': keeper.port === 443 ? keeper.host : `${keeper.host}:${keeper.port}`,
    });
  }

  /**
   * Connects, and prepares a question: the keeper is the one that the policy names, and this boot's
   * evidence for its challenge is made.
   *
   * @throws RefusalError `keeper`; the question was not asked then
   */
  static async open(options: KeeperLinkOptions, question: KeeperQuestion): Promise<[KeeperLink, Uint8Array]> {
    const link = await refusing(options, async () => {
      return new KeeperLink(options, await options.resolve(options.keeper.host));
    });
    try {
      const evidence = await refusing(options, async () => {
        const { challenge } = await link.#ask(KeeperDescriptor.method.challenge, {});
        if (challenge.length !== CHALLENGE_BYTES) throw new Error(`a challenge of ${challenge.length} bytes`);
        const exporter = link.#there.tls.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
        return await options.show(keeperNonce(challenge, question), exporter);
      });
      return [link, evidence];
    } catch (error) {
      link.close();
      throw error;
    }
  }

  /** The keeper, as it has shown itself on this connection. */
  get keeper(): Authenticated {
    return this.#there.shown;
  }

  /** @throws RefusalError `keeper` */
  ask<M extends DescMethodUnary>(
    method: M,
    request: Parameters<typeof create<M['input']>>[1],
  ): Promise<MessageShape<M['output']>> {
    return refusing(this.#options, () => this.#ask(method, request));
  }

  close(): void {
    this.#client.close();
    this.#credentials.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  get #there(): { readonly tls: TLSSocket; readonly shown: Authenticated } {
    if (this.#connected === undefined) throw new Error('there is no connection');
    return this.#connected;
  }

  async #ask<M extends DescMethodUnary>(
    { parent, name, input, output }: M,
    request: Parameters<typeof create<M['input']>>[1],
  ): Promise<MessageShape<M['output']>> {
    const bytes = Buffer.from(toBinary(input, create(input, request) as MessageShape<M['input']>));
    const same = (message: Buffer): Buffer => message;
    const late = { deadline: Date.now() + ANSWER_MS };
    const answer = await new Promise<Buffer>((resolve, reject) => {
      const done = (error: ServiceError | null, body?: Buffer): void => {
        if (error === null) resolve(body ?? Buffer.alloc(0));
        else if (this.#credentials.reached) reject(new KeeperStatus(error));
        else reject(this.#credentials.refusal ?? error);
      };
      this.#client.makeUnaryRequest(`/${parent.typeName}/${name}`, same, same, bytes, new Metadata(), late, done);
    });
    return fromBinary(output, answer, { readUnknownFields: false }) as MessageShape<M['output']>;
  }
}

/** Whatever the keeper did not do, said with its address. */
async function refusing<T>({ keeper: { host, port } }: KeeperLinkOptions, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    const { message, cause: deeper } = cause as Error;
    const why = deeper instanceof Error ? `${message}: ${deeper.message}` : message;
    throw new RefusalError('keeper', `the keeper ${host}:${port}: ${why.slice(0, MAX_REASON_CHARS)}`, {
      cause,
      pointer: '/storage/keeper',
    });
  }
}
