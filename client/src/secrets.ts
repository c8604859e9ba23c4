/** Secrets for subprocessors, brought by the owner to a machine that was verified. */

import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { OWNER_METADATA, ownerMessage, Secrets } from '@enclaim/attestation/secrets';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import type { Attestation } from './attestation.ts';
import { CallError } from './call-error.ts';
import type { AttestedChannel } from './channel.ts';
import { ChannelError } from './errors.ts';

/** Milliseconds for each request. */
const REQUEST_MS = 30_000;

/** The key that the policy names as its owner's (`system.owner.key`). */
export interface OwnerKey {
  /** Ed25519 signature, 64 bytes. */
  sign(message: Uint8Array): Uint8Array;
}

/** A secret that the policy names. */
export interface NamedSecret {
  readonly name: string;
  /**
   * When its value came, RFC 3339 in UTC; null if there is none.
   *
   * **Trust**: the machine's clock.
   */
  readonly since: string | null;
}

/**
 * Brings the values of secrets to the machine at the other end of a channel, and takes them away.
 * Each request is signed for the connection and the boot that the channel attested.
 *
 * @example
 * ```ts
 * import { createPrivateKey, sign } from 'node:crypto';
 * import { readFile } from 'node:fs/promises';
 * import { connect } from '@enclaim/client';
 * import { OwnerSecrets } from '@enclaim/client/secrets';
 *
 * const key = createPrivateKey(await readFile('owner.pem'));
 * await using channel = await connect('intake.example:443', {
 *   references: await readFile('references.json'),
 * });
 * const secrets = new OwnerSecrets(channel, { sign: (message) => sign(null, message, key) });
 * await secrets.put('mailer-token', await readFile('mailer-token'));
 * ```
 */
export class OwnerSecrets {
  readonly #channel: AttestedChannel;
  readonly #client: Client;
  readonly #owner: OwnerKey;
  readonly #timeout: number;

  /** @param options `timeout`: milliseconds for each request; by default 30 000 */
  constructor(channel: AttestedChannel, owner: OwnerKey, { timeout = REQUEST_MS }: { readonly timeout?: number } = {}) {
    this.#channel = channel;
    this.#client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
    this.#owner = owner;
    this.#timeout = timeout;
  }

  /**
   * Has a value kept, in the place of the one that was there.
   *
   * @param value 8 to 8192 printable characters of ASCII, without a space at an end; or, of a
   * client certificate, PEM of its key and chain
   * @returns whether another value was there
   * @throws CallError, ChannelError
   */
  async put(name: string, value: Uint8Array): Promise<{ readonly rotated: boolean }> {
    const { rotated } = await this.#ask(Secrets.method.put, { name, value });
    return { rotated };
  }

  /** Has a value forgotten. @returns whether there was one @throws CallError, ChannelError */
  async remove(name: string): Promise<{ readonly removed: boolean }> {
    const { removed } = await this.#ask(Secrets.method.remove, { name });
    return { removed };
  }

  /** Every secret that the policy names. @throws CallError, ChannelError */
  async list(): Promise<readonly NamedSecret[]> {
    const { secrets } = await this.#ask(Secrets.method.list, {});
    return secrets.map(({ name, since }) => ({ name, since: since === '' ? null : since }));
  }

  /** Asks with the owner's proof, once more if the connection is another. */
  async #ask<Method extends DescMethod>(
    method: Method,
    init: MessageInitShape<Method['input']>,
  ): Promise<MessageShape<Method['output']>> {
    const request = Buffer.from(toBinary(method.input, create(method.input, init)));
    const { attestation } = this.#channel;
    try {
      return await this.#send(method, request, attestation);
    } catch (error) {
      const { attestation: now } = this.#channel;
      if (now === attestation || !(error instanceof CallError) || error.code !== 'UNAUTHENTICATED') throw error;
      return await this.#send(method, request, now);
    }
  }

  #send<Method extends DescMethod>(
    method: Method,
    request: Buffer,
    { exporter, bootDigest: boot }: Attestation,
  ): Promise<MessageShape<Method['output']>> {
    if (exporter === undefined) throw new ChannelError('closed', 'no connection that the owner could sign for');
    const path = `/${method.parent.typeName}/${method.name}`;
    const metadata = new Metadata();
    metadata.set(OWNER_METADATA, Buffer.from(this.#owner.sign(ownerMessage({ exporter, boot, path, request }))));
    const { promise, resolve, reject } = Promise.withResolvers<MessageShape<Method['output']>>();
    const deadline = Date.now() + this.#timeout;
    this.#client.makeUnaryRequest(path, same, same, request, metadata, { deadline }, (error, answer) => {
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
