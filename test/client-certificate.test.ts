/** A client certificate goes from its owner to a verified machine and in the handshake to the mailer, and is nowhere else. */

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from '@enclaim/client';
import { RefusalError } from '@enclaim/runtime';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { EXIT } from '../cli/src/exit-status.ts';
import { ShownCredential } from '../runtime/src/egress/credential.ts';
import { FakeIdentity } from './fakes/certificates.ts';
import { type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { fakeClient } from './support/client-certificate.ts';
import { enclaim } from './support/command.ts';
import { caseOf, MAILER_NAME, notifyBundle, SUBMIT } from './support/notify-app.ts';
import { ownerName } from './support/secrets-server.ts';

const NAME = 'mailer-certificate';
const owner = generateKeyPairSync('ed25519').privateKey;
const authority = new FakeIdentity('maker of clients', 'ecdsa-sha256');
const client = fakeClient(authority);
let mailer: FakeSubprocessor;
let booted: AttestedRuntime;
let folder: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-certificate-'));
  mailer = await startSubprocessor({ names: [MAILER_NAME], clients: { authority, demands: true } });
  const bundle = await notifyBundle(mailer, { owner: ownerName(owner), certificate: NAME });
  booted = await bootAttested(bundle, { resolve: async () => ['127.0.0.1'] });
  await writeFile(join(folder, 'references.json'), JSON.stringify(booted.references));
  await writeFile(join(folder, 'owner.pem'), owner.export({ format: 'pem', type: 'pkcs8' }));
});
after(async () => {
  await booted?.stop();
  await mailer?.stop();
  await rm(folder, { recursive: true });
});

async function put(value: string): ReturnType<typeof enclaim> {
  const file = join(folder, 'value');
  await writeFile(file, value);
  const as = ['--references', join(folder, 'references.json'), '--quiet', '--key', join(folder, 'owner.pem')];
  return enclaim('secret', 'put', booted.target, NAME, '--file', file, ...as);
}

/** Hands a case in, of a patient who is to get word. */
async function submitted(): Promise<ServiceError | null> {
  await using channel = await connect(booted.target, { references: booted.references });
  const calls = new Client(booted.target, credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  return await new Promise((resolve) => {
    calls.makeUnaryRequest(SUBMIT, same, same, caseOf('jane@example.org'), (error) => resolve(error));
  });
}

test('before it is there the call is unavailable; a header’s secret and a foreign key are not taken for it', async () => {
  const error = await submitted();
  assert.deepEqual([error?.code, error?.details], [14, `the certificate ${NAME} is not there`]);
  assert.equal((await put('sk-5c1f-e0a7-94d2-6b38')).code, EXIT.answered);
  assert.equal((await put(client.key)).code, EXIT.usage);
  assert.equal((await put(fakeClient(authority).key + client.pem.slice(client.key.length))).code, EXIT.answered);
  assert.equal((await submitted())?.code, 14);
});

test('the owner puts it, and the mailer that demands one takes the message', async () => {
  const { code, stderr } = await put(client.pem);
  assert.equal(code, EXIT.ok, stderr);
  assert.equal(await submitted(), null);
  assert.deepEqual(mailer.shown.at(-1), Buffer.from(client.certificate));
  assert.equal(mailer.received.length, 1);
});

test('the log has its name, and neither key nor certificate', async () => {
  const log = await readFile(booted.logFile);
  assert.ok(log.includes(`secret put ${NAME}`));
  for (const line of client.pem.split('\n').filter((each) => each.length > 30 && !each.startsWith('-')))
    assert.ok(!log.includes(line.slice(0, 30)));
});

test('a certificate that a policy names as the secret of a header is shown to no peer, and its key in no error', () => {
  const { pem } = fakeClient(authority);
  const shown = (): ShownCredential =>
    new ShownCredential({ header: 'authorization', secret: 'mailer' }, { get: () => Buffer.from(pem) }, '/x');
  assert.throws(
    shown,
    (error) => error instanceof RefusalError && error.code === 'secret' && !/KEY/.test(error.message),
  );
});
