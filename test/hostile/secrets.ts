/** Attacks of callers on the secrets of a policy: bringing one of their own, and taking the owner's word for another. */

import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTls } from 'node:tls';
import type { DescMethod } from '@bufbuild/protobuf';
import { EXPORTER_LABEL } from '@enclaim/attestation/batch';
import { OWNER_METADATA, Secrets } from '@enclaim/attestation/secrets';
import { type AttestedChannel, connect } from '@enclaim/client';
import { MAX_FALSE_PROOFS } from '../../runtime/src/channel/secret-owner.ts';
import type * as serviceModule from '../../runtime/src/channel/secrets-service.ts';
import type * as vaultModule from '../../runtime/src/egress/vault.ts';
import { prefixed } from '../support/requests.ts';
import {
  type Asked,
  asked,
  proofOf,
  type SecretsServer,
  type SecretsServerOptions,
  STRANGER,
  send,
  startSecretsServer,
} from '../support/secrets-server.ts';
import type { Attack } from './attack.ts';
import { weakened } from './weakened.ts';

const SERVICE = 'runtime/src/channel/secrets-service.ts';
const VAULT = 'runtime/src/egress/vault.ts';
/** The layer of the vault; all others are the service's. */
const RECORDED = 'record before secret';
const TOKEN = 'sk-of-the-attacker';
const { put, remove } = Secrets.method as Record<'put' | 'remove', DescMethod>;
const tokenOf = (value: string = TOKEN, name = 'mailer-token'): Asked =>
  asked(put, { name, value: Buffer.from(value) });
const TAKE_AWAY = asked(remove, { name: 'mailer-token' });

interface Scene {
  readonly server: SecretsServer;
  /** A new connection. */
  open(): Promise<AttestedChannel>;
  /** Whether a request was answered well. */
  isTaken(channel: AttestedChannel, asked: Asked, proof: Buffer): Promise<boolean>;
}

/** The service or its vault without a layer. */
async function without(off: readonly string[]): Promise<SecretsServerOptions> {
  if (off.length === 0) return {};
  if (!off.includes(RECORDED))
    return { Service: ((await import(weakened(SERVICE, { off }))) as typeof serviceModule).SecretsService };
  const { VolatileVault } = (await import(weakened(VAULT, { off }))) as typeof vaultModule;
  return { vault: new VolatileVault(Date.now) };
}

/** Plays an attack against the service, whole or with a layer off. */
async function against(
  off: readonly string[],
  act: (scene: Scene) => Promise<boolean>,
  options: SecretsServerOptions = {},
): Promise<boolean> {
  const server = await startSecretsServer({ ...options, ...(await without(off)) });
  const channels: AttestedChannel[] = [];
  const open = async (): Promise<AttestedChannel> => {
    const channel = await connect(server.target, { references: server.references });
    channels.push(channel);
    return channel;
  };
  const isTaken: Scene['isTaken'] = (channel, one, proof) =>
    send(channel, one, proof).then(
      () => true,
      () => false,
    );
  try {
    return await act({ server, open, isTaken });
  } finally {
    for (const channel of channels) channel.close();
    server.stop();
  }
}

/** The owner's client without a look at evidence, led here by whoever is in the path. */
async function onPlainHttp2({ server }: Scene): Promise<boolean> {
  const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await once(socket, 'secureConnect');
  const exporter = socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0));
  const attested = await connect(server.target, { references: server.references });
  const { bootDigest } = attested.attestation;
  attested.close();
  const here = { attestation: { exporter, bootDigest } } as unknown as AttestedChannel;
  const session = connectHttp2(`https://${server.target}`, { createConnection: () => socket });
  const stream = session.request({
    ':method': 'POST',
    ':path': tokenOf().path,
    'content-type': 'application/grpc',
    te: 'trailers',
    [OWNER_METADATA]: proofOf(here, tokenOf()).toString('base64'),
  });
  stream.on('error', () => {});
  stream.end(prefixed(tokenOf().request));
  stream.resume();
  await once(stream, 'close');
  session.destroy();
  return server.vault.get('mailer-token') !== undefined;
}

/** A proof that the owner gave for one thing, used for another. */
const ATTACKS: Readonly<Record<string, Readonly<Record<string, (scene: Scene) => Promise<boolean>>>>> = {
  'signature of the owner': {
    'bring a secret under a key that is not the owner’s': async ({ open, isTaken }) => {
      const channel = await open();
      return isTaken(channel, tokenOf(), proofOf(channel, tokenOf(), STRANGER));
    },
    'show the owner’s proof on another connection': async ({ open, isTaken }) =>
      isTaken(await open(), tokenOf(), proofOf(await open(), tokenOf())),
    'show the owner’s proof to the next boot': async ({ server, open, isTaken }) => {
      const proof = proofOf(await open(), tokenOf());
      server.rotate();
      return isTaken(await open(), tokenOf(), proof);
    },
    'show the owner’s proof with another value': async ({ open, isTaken }) => {
      const channel = await open();
      return isTaken(channel, tokenOf(), proofOf(channel, tokenOf('sk-of-the-owner')));
    },
    'show the owner’s proof to another method': async ({ open, isTaken }) => {
      const channel = await open();
      return isTaken(channel, TAKE_AWAY, proofOf(channel, { ...TAKE_AWAY, path: tokenOf().path }));
    },
  },
  'secrets on attested connections': { 'bring a secret where nothing was verified': onPlainHttp2 },
  'false proofs of a connection': {
    'have signatures verified without an end': async ({ open, isTaken }) => {
      const channel = await open();
      for (let i = 0; i <= MAX_FALSE_PROOFS; i++)
        await isTaken(channel, tokenOf(), proofOf(channel, tokenOf(), STRANGER));
      return isTaken(channel, tokenOf(), proofOf(channel, tokenOf()));
    },
  },
  'values that headers carry': {
    'have a second header written by the value of one': async ({ open, isTaken }) => {
      const [channel, split] = [await open(), tokenOf(`${TOKEN}\r\nx-admin: 1`)];
      return isTaken(channel, split, proofOf(channel, split));
    },
  },
  'names of the policy': {
    'fill memory with secrets that no policy names': async ({ open, isTaken }) => {
      const [channel, unknown] = [await open(), tokenOf(TOKEN, 'of-nobody')];
      return isTaken(channel, unknown, proofOf(channel, unknown));
    },
  },
};

function attackOf(
  layer: string,
  name: string,
  act: (scene: Scene) => Promise<boolean>,
  options: SecretsServerOptions = {},
): Attack {
  return {
    group: 'secrets',
    name,
    layer,
    attempt: () => against([], act, options),
    control: () => against([layer], act, options),
  };
}

/** Every attack on secrets. */
export const secretAttacks: readonly Attack[] = [
  ...Object.entries(ATTACKS).flatMap(([layer, named]) =>
    Object.entries(named).map(([name, act]) => attackOf(layer, name, act)),
  ),
  // Whoever can fill the log would have secrets come and go unseen.
  attackOf(
    RECORDED,
    'bring a secret while the log cannot be written',
    async ({ server, open, isTaken }) => {
      const channel = await open();
      await isTaken(channel, tokenOf(), proofOf(channel, tokenOf()));
      return server.vault.get('mailer-token') !== undefined;
    },
    { record: () => Promise.reject(new Error('the disk is gone')) },
  ),
];
