/**
 * enclaim.v1.Secrets: the owner brings values of the secrets that the policy names, and takes them
 * away. No answer carries a value, and none carries a receipt.
 */

import { create, type DescMessage, type DescMethod, type MessageShape, toBinary } from '@bufbuild/protobuf';
import type { Sha256 } from '@enclaim/attestation/digest';
import {
  ListSecretsRequestSchema,
  ListSecretsResponseSchema,
  MAX_CERTIFICATE_BYTES,
  PutSecretRequestSchema,
  PutSecretResponseSchema,
  RemoveSecretRequestSchema,
  RemoveSecretResponseSchema,
  Secrets,
  secretFault,
} from '@enclaim/attestation/secrets';
import type { Ed25519Text } from '@enclaim/attestation/statement';
import { clientCertificateFault } from '../egress/client-certificate.ts';
import type { Recording, Vault } from '../egress/vault.ts';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';
import { SecretOwner } from './secret-owner.ts';
import { SecretRefusal, serveSecrets } from './secret-refusal.ts';
import { type ServedMethod, servedMethod } from './served-methods.ts';
import { requestOf } from './small-requests.ts';

/** Bytes of a request: the longest value, and its name. */
const MAX_REQUEST_BYTES: number = MAX_CERTIFICATE_BYTES + 256;
/** Changes that wait for the record of another, of all connections. */
export const MAX_WAITING_CHANGES = 16;

/** A change of a secret, as its record says it. */
export type SecretChange = 'put' | 'rotated' | 'withdrawn';

/** The parts of the service. */
export interface SecretsSource {
  readonly vault: Vault;
  /** Secrets that the policy names. */
  readonly names: ReadonlySet<string>;
  /** Secrets among them that are client certificates. */
  readonly certificates?: ReadonlySet<string>;
  readonly owner: Ed25519Text;
  readonly boot: Sha256;
  /** Places a record at once, and resolves when it is durable. @throws RefusalError `log` */
  record(change: SecretChange, name: string): Promise<unknown>;
}

/** The service of a policy that names secrets. */
export class SecretsService {
  readonly #source: SecretsSource;
  readonly #owner: SecretOwner;
  /** Settles after the last change. Never rejects. */
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #isOver = false;

  constructor(source: SecretsSource) {
    this.#source = source;
    this.#owner = new SecretOwner(source.owner, source.boot);
  }

  /** The methods of the service, with their paths. */
  get methods(): (readonly [string, ServedMethod])[] {
    const { put, remove, list } = Secrets.method;
    return [
      servedMethod(put, (call) => serveSecrets(call, () => this.#put(call))),
      servedMethod(remove, (call) => serveSecrets(call, () => this.#remove(call))),
      servedMethod(list, (call) => serveSecrets(call, () => this.#list(call))),
    ];
  }

  /** Takes no further change. Resolves when those under way are made. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#last;
  }

  async #put(call: GrpcCall): Promise<void> {
    const { name, value } = await this.#owned(call, Secrets.method.put, PutSecretRequestSchema);
    try {
      this.#known(name);
      // layer: values that headers carry (off: undefined)
      const fault = this.#faultOf(name, value);
      if (fault !== undefined) throw new SecretRefusal('value', fault);
      end(call, PutSecretResponseSchema, { rotated: await this.#inTurn(() => this.#keep(name, value)) });
    } finally {
      value.fill(0);
    }
  }

  /** Why a value cannot be that of a name. */
  #faultOf(name: string, value: Uint8Array): string | undefined {
    return this.#source.certificates?.has(name) ? clientCertificateFault(value) : secretFault(value);
  }

  /** @returns whether another value was there */
  async #keep(name: string, value: Uint8Array): Promise<boolean> {
    const { vault } = this.#source;
    const isThere = vault.since(name) !== undefined;
    await this.#change(isThere ? 'rotated' : 'put', name, (record) => vault.put(name, value, record));
    return isThere;
  }

  async #remove(call: GrpcCall): Promise<void> {
    const { name } = await this.#owned(call, Secrets.method.remove, RemoveSecretRequestSchema);
    this.#known(name);
    const { vault } = this.#source;
    const removed = await this.#inTurn(async () => {
      if (vault.since(name) === undefined) return false;
      await this.#change('withdrawn', name, (record) => vault.remove(name, record));
      return true;
    });
    end(call, RemoveSecretResponseSchema, { removed });
  }

  async #list(call: GrpcCall): Promise<void> {
    await this.#owned(call, Secrets.method.list, ListSecretsRequestSchema);
    const { vault, names } = this.#source;
    const secrets = [...names].map((name) => {
      const since = vault.since(name);
      return { name, since: since === undefined ? '' : new Date(since).toISOString() };
    });
    end(call, ListSecretsResponseSchema, { secrets });
  }

  /** Has the vault make a change with the record of it. */
  async #change(change: SecretChange, name: string, make: (record: Recording) => Promise<void>): Promise<void> {
    try {
      await make(() => this.#source.record(change, name));
    } catch (cause) {
      if (cause instanceof RefusalError && cause.code === 'log') throw cause;
      throw new SecretRefusal('state', 'the change could not be kept', { cause });
    }
  }

  /**
   * Makes one change after another.
   *
   * @throws SecretRefusal `busy`, `shutdown`; what `change` throws
   */
  async #inTurn<T>(change: () => Promise<T>): Promise<T> {
    if (this.#isOver) throw new SecretRefusal('shutdown', 'the runtime is about to end');
    if (this.#waiting >= MAX_WAITING_CHANGES) throw new SecretRefusal('busy', `${MAX_WAITING_CHANGES} changes wait`);
    this.#waiting++;
    const made = this.#last.then(change);
    this.#last = made.catch(() => {}).finally(() => this.#waiting--);
    return made;
  }

  #known(name: string): void {
    // layer: names of the policy
    if (!this.#source.names.has(name)) throw new SecretRefusal('name', 'the policy names no such secret');
  }

  /** The one request of a call, if it is the owner's. @throws SecretRefusal, RequestError */
  async #owned<Desc extends DescMessage>(
    call: GrpcCall,
    { parent, name }: DescMethod,
    type: Desc,
  ): Promise<MessageShape<Desc>> {
    const bytes = (await call.next()) ?? new Uint8Array();
    if (bytes.length > MAX_REQUEST_BYTES)
      throw new SecretRefusal('request', `a request is longer than ${MAX_REQUEST_BYTES} bytes`);
    this.#owner.admit(call, `/${parent.typeName}/${name}`, bytes);
    return requestOf(type, bytes);
  }
}

function end<Desc extends DescMessage>(call: GrpcCall, type: Desc, value: Parameters<typeof create<Desc>>[1]): void {
  call.end({ status: STATUS.ok, response: toBinary(type, create(type, value)) });
}
