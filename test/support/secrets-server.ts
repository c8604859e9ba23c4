/** An attested server whose only service is that of secrets, over a vault and records that can be looked at. */

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { create, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { OWNER_METADATA, ownerMessage } from '@enclaim/attestation/secrets';
import { ed25519Key } from '@enclaim/attestation/statement';
import type { AttestedChannel } from '@enclaim/client';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { CallConnection } from '../../runtime/src/channel/connection.ts';
import { SecretsService, type SecretsSource } from '../../runtime/src/channel/secrets-service.ts';
import { StreamLimit } from '../../runtime/src/channel/stream-limit.ts';
import { type Vault, VolatileVault } from '../../runtime/src/egress/vault.ts';
import { type PretendBoot, type PretendServer, startPretendServer } from './pretend-server.ts';

/** The owner, and someone else. */
export const OWNER: KeyObject = generateKeyPairSync('ed25519').privateKey;
export const STRANGER: KeyObject = generateKeyPairSync('ed25519').privateKey;
/** Secrets that the policy names. */
export const NAMES: readonly string[] = ['mailer-token', 'model-key'];

/** The server. */
export interface SecretsServer extends PretendServer {
  readonly vault: Vault;
  /** Changes that were recorded, in order. */
  readonly records: readonly string[];
}

/** What may be other. */
export interface SecretsServerOptions {
  readonly vault?: Vault;
  readonly record?: SecretsSource['record'];
  readonly Service?: typeof SecretsService;
}

/** Starts it. */
export async function startSecretsServer({
  vault = new VolatileVault(Date.now),
  record = async () => {},
  Service = SecretsService,
}: SecretsServerOptions = {}): Promise<SecretsServer> {
  const streams = new StreamLimit(60_000);
  const records: string[] = [];
  const connections: CallConnection[] = [];
  const services = new Map<PretendBoot, InstanceType<typeof SecretsService>>();
  const serviceOf = (boot: PretendBoot): SecretsService => {
    const known = services.get(boot);
    if (known !== undefined) return known;
    const made = new Service({
      vault,
      names: new Set(NAMES),
      owner: ownerName(OWNER),
      boot: boot.digest,
      record: async (change, name) => {
        await record(change, name);
        records.push(`${change} ${name}`);
      },
    });
    services.set(boot, made);
    return made;
  };
  const server = await startPretendServer({
    plain: true,
    carry: (socket, boot) => {
      const methods = new Map(serviceOf(boot).methods);
      connections.push(new CallConnection(socket, socket.alpnProtocol !== 'h2', { methods, streams }));
    },
  });
  const { stop, rotate } = server;
  return Object.defineProperties(server, {
    vault: { value: vault },
    records: { value: records },
    rotate: {
      value: () => {
        rotate();
        for (const connection of connections.splice(0)) connection.retire();
      },
    },
    stop: {
      value: () => {
        streams[Symbol.dispose]();
        stop();
      },
    },
  }) as SecretsServer;
}

/** A key as policies name it. */
export function ownerName(key: KeyObject): ReturnType<typeof ed25519Key> {
  const jwk = key.export({ format: 'jwk' });
  return ed25519Key(Buffer.from(String(jwk.x), 'base64url'));
}

/** A request as bytes, with the path that its signer means. */
export interface Asked {
  readonly path: string;
  readonly request: Buffer;
}

/** A request of the service. */
export function asked<Method extends DescMethod>(method: Method, init: MessageInitShape<Method['input']>): Asked {
  const request = Buffer.from(toBinary(method.input, create(method.input, init)));
  return { path: `/${method.parent.typeName}/${method.name}`, request };
}

/** The owner's proof of a request over a channel. */
export function proofOf(channel: AttestedChannel, { path, request }: Asked, key: KeyObject = OWNER): Buffer {
  const { exporter = new Uint8Array(), bootDigest: boot } = channel.attestation;
  return sign(null, ownerMessage({ exporter, boot, path, request }), key);
}

/** Sends a request with a proof, or with none. @throws ServiceError */
export function send(channel: AttestedChannel, { path, request }: Asked, proof?: Buffer): Promise<Buffer> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const metadata = new Metadata();
  if (proof !== undefined) metadata.set(OWNER_METADATA, proof);
  const same = (each: Buffer): Buffer => each;
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  client.makeUnaryRequest(path, same, same, request, metadata, (error, answer) =>
    error ? reject(error) : resolve(answer ?? Buffer.alloc(0)),
  );
  return promise;
}
