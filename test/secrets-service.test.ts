/** Only the owner changes a secret, on the connection and boot that was signed for, and each change is on record first. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { after, test } from 'node:test';
import { MAX_SECRET_BYTES, MIN_SECRET_BYTES, OWNER_METADATA, Secrets } from '@enclaim/attestation/secrets';
import { type AttestedChannel, CallError, connect } from '@enclaim/client';
import { OwnerSecrets } from '@enclaim/client/secrets';
import { connectivityState, type ServiceError, status } from '@grpc/grpc-js';
import { MAX_FALSE_PROOFS } from '../runtime/src/channel/secret-owner.ts';
import { MAX_WAITING_CHANGES } from '../runtime/src/channel/secrets-service.ts';
import { VolatileVault } from '../runtime/src/egress/vault.ts';
import { RefusalError } from '../runtime/src/errors.ts';
import { eventually } from './support/eventually.ts';
import { refusalInfo } from './support/refusal-info.ts';
import { prefixed } from './support/requests.ts';
import {
  type Asked,
  asked,
  NAMES,
  OWNER,
  proofOf,
  type SecretsServer,
  type SecretsServerOptions,
  STRANGER,
  send,
  startSecretsServer,
} from './support/secrets-server.ts';

const { put, remove, list } = Secrets.method;
const TOKEN = 'sk-4f9b2c7d8e1a';
const open = new AsyncDisposableStack();
after(() => open.disposeAsync());

async function served(options: SecretsServerOptions = {}): Promise<{
  server: SecretsServer;
  channel: AttestedChannel;
  secrets: OwnerSecrets;
}> {
  const server = open.adopt(await startSecretsServer(options), (each) => each.stop());
  const channel = open.use(await connect(server.target, { references: server.references }));
  return { server, channel, secrets: new OwnerSecrets(channel, { sign: (message) => sign(null, message, OWNER) }) };
}

/** Whether a request was refused for this reason. */
function refused(code: status, reason: string) {
  return (error: ServiceError): boolean => {
    const [details] = error.metadata.get('grpc-status-details-bin');
    assert.equal(refusalInfo(details as Buffer).reason, reason, error.details);
    assert.equal(error.code, code);
    return true;
  };
}

const tokenOf = (value = TOKEN, name = 'mailer-token'): Asked => asked(put, { name, value: Buffer.from(value) });
const notOwner = refused(status.UNAUTHENTICATED, 'SECRET_OWNER');

/** Nothing is there, and nothing was recorded. */
function untouched({ vault, records }: SecretsServer): void {
  assert.deepEqual([records, NAMES.map((name) => vault.get(name))], [[], [undefined, undefined]]);
}

test('the owner brings a value, another in its place, and takes it away; each is recorded by its name', async () => {
  const { server, secrets } = await served();
  assert.deepEqual(await secrets.put('mailer-token', Buffer.from(TOKEN)), { rotated: false });
  const first = server.vault.get('mailer-token');
  assert.equal(Buffer.from(first ?? []).toString(), TOKEN);
  const [there, absent] = await secrets.list();
  assert.deepEqual(absent, { name: 'model-key', since: null });
  assert.match(String(there?.since), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(await secrets.put('mailer-token', Buffer.from('another-token')), { rotated: true });
  assert.deepEqual(first, new Uint8Array(TOKEN.length), 'the value before is wiped');
  assert.deepEqual(await secrets.remove('mailer-token'), { removed: true });
  assert.deepEqual(await secrets.remove('mailer-token'), { removed: false });
  assert.equal(server.vault.get('mailer-token'), undefined);
  assert.deepEqual(server.records, ['put mailer-token', 'rotated mailer-token', 'withdrawn mailer-token']);
});

test('without a proof, and under a key that is not the owner’s, nothing is changed, taken away or told', async () => {
  const { server, channel } = await served();
  for (const each of [tokenOf(), asked(remove, { name: 'mailer-token' }), asked(list, {})]) {
    await assert.rejects(send(channel, each), notOwner);
    await assert.rejects(send(channel, each, proofOf(channel, each, STRANGER)), notOwner);
  }
  untouched(server);
});

test('a proof of another request, method, length or none at all is none', async () => {
  const { server, channel } = await served();
  const proof = proofOf(channel, tokenOf());
  await assert.rejects(send(channel, tokenOf('sk-of-someone-else'), proof), notOwner);
  await assert.rejects(send(channel, asked(remove, { name: 'mailer-token' }), proof), notOwner);
  await assert.rejects(send(channel, { ...tokenOf(), path: '/enclaim.v1.Secrets/Remove' }, proof), notOwner);
  for (const length of [0, 63, 65]) await assert.rejects(send(channel, tokenOf(), Buffer.alloc(length)), notOwner);
  untouched(server);
});

test('a proof is of one connection and of one boot', async () => {
  const { server, channel } = await served();
  const proof = proofOf(channel, tokenOf());
  const beside = open.use(await connect(server.target, { references: server.references }));
  await assert.rejects(send(beside, tokenOf(), proof), notOwner);
  server.rotate();
  const next = open.use(await connect(server.target, { references: server.references }));
  await assert.rejects(send(next, tokenOf(), proof), notOwner);
  // Even where the connection were the same one: the boot is another.
  const { exporter } = next.attestation;
  const stale = { ...channel, attestation: { ...channel.attestation, exporter } } as unknown as AttestedChannel;
  await assert.rejects(send(next, tokenOf(), proofOf(stale, tokenOf())), notOwner);
  untouched(server);
  await send(next, tokenOf(), proofOf(next, tokenOf()));
  assert.deepEqual(server.records, ['put mailer-token']);
});

test('on plain h2 nothing is taken, however it is signed', async () => {
  const { server, channel } = await served();
  const session = connectHttp2(`https://${server.target}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  open.defer(() => session.destroy());
  await once(session, 'connect');
  const { path, request } = tokenOf();
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    [OWNER_METADATA]: proofOf(channel, tokenOf()).toString('base64'),
  });
  const found: Record<string, unknown> = {};
  for (const event of ['response', 'trailers'] as const) stream.on(event, (fields) => Object.assign(found, fields));
  stream.end(prefixed(request));
  stream.resume();
  await once(stream, 'close');
  assert.equal(found['grpc-status'], String(status.FAILED_PRECONDITION));
  untouched(server);
});

test('a name that the policy does not have, and a value that no header carries, are refused', async () => {
  const { server, channel } = await served();
  const owned = (each: Asked): Promise<Buffer> => send(channel, each, proofOf(channel, each));
  await assert.rejects(owned(tokenOf(TOKEN, 'mialer-token')), refused(status.NOT_FOUND, 'SECRET_NAME'));
  await assert.rejects(owned(asked(remove, { name: '__proto__' })), refused(status.NOT_FOUND, 'SECRET_NAME'));
  const noValue = refused(status.INVALID_ARGUMENT, 'SECRET_VALUE');
  const BAD: Readonly<Record<string, RegExp>> = {
    [`${TOKEN}\r\nx-admin: 1`]: /CR/,
    [`${TOKEN}\nx-admin: 1`]: /LF/,
    [`${TOKEN}\0`]: /NUL/,
    [`${TOKEN}\t`]: /not printable/,
    [`${TOKEN}\u00fc`]: /not printable/,
    [` ${TOKEN}`]: /space/,
    [`${TOKEN} `]: /space/,
    [TOKEN.slice(0, MIN_SECRET_BYTES - 1)]: /8 to 8192/,
    ['x'.repeat(MAX_SECRET_BYTES + 1)]: /8 to 8192/,
  };
  for (const [value, why] of Object.entries(BAD))
    await assert.rejects(owned(tokenOf(value)), (error: ServiceError) => {
      assert.match(error.details, why);
      assert(!error.details.includes('sk-4'), 'nothing of the value is repeated');
      return noValue(error);
    });
  const long = { ...tokenOf(), request: Buffer.alloc(64 * 1024) };
  await assert.rejects(owned(long), refused(status.INVALID_ARGUMENT, 'SECRET_REQUEST'));
  await assert.rejects(
    owned({ ...tokenOf(), request: Buffer.from([0xff]) }),
    refused(status.INVALID_ARGUMENT, 'SECRET_REQUEST'),
  );
  untouched(server);
  await owned(tokenOf('x'.repeat(MAX_SECRET_BYTES)));
});

test('after a few false proofs a connection is not listened to, and the owner on another is', async () => {
  const { server, channel, secrets } = await served();
  const stranger = open.use(await connect(server.target, { references: server.references }));
  for (let i = 0; i < MAX_FALSE_PROOFS; i++)
    await assert.rejects(send(stranger, tokenOf(), proofOf(stranger, tokenOf(), STRANGER)), notOwner);
  const busy = refused(status.RESOURCE_EXHAUSTED, 'SECRET_BUSY');
  await assert.rejects(send(stranger, tokenOf(), proofOf(stranger, tokenOf())), busy);
  untouched(server);
  await secrets.put('mailer-token', Buffer.from(TOKEN));
  assert.equal(channel.attestation.bootDigest.length, 32);
});

test('a change is answered once its record is durable, and not made before', async () => {
  const durable = Promise.withResolvers<void>();
  let asking = 0;
  const { server, secrets } = await served({
    record: async () => {
      asking++;
      await durable.promise;
    },
  });
  let isAnswered = false;
  const done = secrets.put('mailer-token', Buffer.from(TOKEN)).then(() => {
    isAnswered = true;
  });
  await eventually('the record', () => asking === 1);
  assert.deepEqual(
    await secrets.list(),
    NAMES.map((name) => ({ name, since: null })),
  );
  assert.deepEqual([isAnswered, server.vault.get('mailer-token')], [false, undefined]);
  durable.resolve();
  await done;
  assert.notEqual(server.vault.get('mailer-token'), undefined);
});

test('a change that cannot be recorded is not made', async () => {
  const { server, channel } = await served({
    record: () => Promise.reject(new RefusalError('log', 'the disk is full')),
  });
  await assert.rejects(
    send(channel, tokenOf(), proofOf(channel, tokenOf())),
    refused(status.UNAVAILABLE, 'SECRET_LOG'),
  );
  untouched(server);
});

test('a change that the vault does not keep is said so, and no record says that it was made', async () => {
  class Broken extends VolatileVault {
    override async put(): Promise<void> {
      throw new Error(`no room for ${TOKEN}`);
    }
  }
  const { server, channel } = await served({ vault: new Broken(Date.now) });
  await assert.rejects(send(channel, tokenOf(), proofOf(channel, tokenOf())), (error: ServiceError) => {
    assert(!error.details.includes(TOKEN));
    return refused(status.UNAVAILABLE, 'SECRET_STATE')(error);
  });
  assert.deepEqual(server.records, []);
});

test('few changes wait', async () => {
  const durable = Promise.withResolvers<void>();
  const { server, secrets } = await served({ record: () => durable.promise });
  const changes = Array.from({ length: MAX_WAITING_CHANGES + 1 }, () =>
    secrets.put('mailer-token', Buffer.from(TOKEN)).then(
      () => 'made',
      (error: unknown) => (error instanceof CallError ? error.code : String(error)),
    ),
  );
  assert.equal(await Promise.race(changes), 'RESOURCE_EXHAUSTED');
  durable.resolve();
  assert.equal((await Promise.all(changes)).filter((each) => each === 'made').length, MAX_WAITING_CHANGES);
  assert.equal(server.records.length, MAX_WAITING_CHANGES);
});

test('the client signs anew where its connection is another', async () => {
  const { server, channel, secrets } = await served();
  await secrets.put('mailer-token', Buffer.from(TOKEN));
  server.rotate();
  const isOver = (): boolean => channel.getConnectivityState(false) !== connectivityState.READY;
  await eventually('the end of the connection', isOver);
  assert.deepEqual(await secrets.put('mailer-token', Buffer.from(TOKEN)), { rotated: true });
});
