/** Successions of sealed state, carried to a machine that was verified. */

import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { SuccessionDescriptor } from '@enclaim/attestation/succession';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { CallError } from './call-error.ts';
import type { AttestedChannel } from './channel.ts';

/** Milliseconds for each request: a hand-over is a new epoch, which the TPM has to begin. */
const REQUEST_MS = 60_000;

/** How a succession stands on a machine. */
export interface SuccessionState {
  /** The present name of the state, which a succession of it has to give. */
  readonly state: string;
  /** Canonical bytes of the succession that waits or that the state is handed over by, or null. */
  readonly succession: Uint8Array | null;
  /**
   * From when on the state passes, RFC 3339 in UTC; null without a succession.
   *
   * **Trust**: the machine's clock.
   */
  readonly due: string | null;
  /** Whether the heir can open the state. */
  readonly handed: boolean;
}

/**
 * Hands successions to the machine at the other end of a channel. A succession proves itself by its
 * signatures, so that any client may carry it.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { encodeSuccession, readSuccession } from '@enclaim/attestation/succession';
 * import { connect } from '@enclaim/client';
 * import { SuccessionCourier } from '@enclaim/client/successions';
 *
 * await using channel = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * const { file } = readSuccession(await readFile('succession.json'));
 * const { due } = await new SuccessionCourier(channel).hand(encodeSuccession(file));
 * ```
 */
export class SuccessionCourier {
  readonly #client: Client;
  readonly #timeout: number;

  /** @param options `timeout`: milliseconds for each request; by default 60 000 */
  constructor(channel: AttestedChannel, { timeout = REQUEST_MS }: { readonly timeout?: number } = {}) {
    this.#client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
    this.#timeout = timeout;
  }

  /**
   * Has a succession taken in the place of the one that waits.
   *
   * @param succession canonical bytes (`encodeSuccession` of attestation)
   * @throws CallError, ChannelError
   */
  async hand(succession: Uint8Array): Promise<{ readonly due: string; readonly handed: boolean }> {
    const { due, handed } = await this.#ask(SuccessionDescriptor.method.hand, { succession });
    return { due, handed };
  }

  /** How the succession stands. @throws CallError, ChannelError */
  async show(): Promise<SuccessionState> {
    const { state, succession, due, handed } = await this.#ask(SuccessionDescriptor.method.show, {});
    return { state, succession: succession.length === 0 ? null : succession, due: due === '' ? null : due, handed };
  }

  #ask<Method extends DescMethod>(
    method: Method,
    init: MessageInitShape<Method['input']>,
  ): Promise<MessageShape<Method['output']>> {
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<Method['output']>>();
    const request = Buffer.from(toBinary(method.input, create(method.input, init)));
    const path = `/${method.parent.typeName}/${method.name}`;
    const deadline = Date.now() + this.#timeout;
    this.#client.makeUnaryRequest(path, same, same, request, new Metadata(), { deadline }, (error, answer) => {
      if (error) reject(new CallError(error, undefined));
      else resolve((async () => decoded(method, answer ?? Buffer.alloc(0)))());
    });
    return promise;
  }
}

function same(bytes: Buffer): Buffer {
  return bytes;
}

function decoded<Method extends DescMethod>(method: Method, bytes: Buffer): MessageShape<Method['output']> {
  try {
    return fromBinary(method.output, bytes, { readUnknownFields: false }) as MessageShape<Method['output']>;
  } catch {
    const details = `${method.name}: not a ${method.output.typeName}`;
    throw new CallError({ code: status.INTERNAL, details, metadata: new Metadata() }, undefined);
  }
}
