/** The clinic's notice to a patient, the whole way: a verified client, a release, a mailer, and the log on its device. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from '@enclaim/client';
import { buildBundle } from '@enclaim/image';
import { Client, type ServiceError } from '@grpc/grpc-js';
import { type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';

const clinic = join(import.meta.dirname, '../examples/clinic');
const METHOD = '/clinic.v1.Intake/Submit';

let mailer: FakeSubprocessor;
let booted: AttestedRuntime;
let folder: string;
before(async () => {
  mailer = await startSubprocessor({ names: ['mail.example.eu'] });
  folder = await mkdtemp(join(tmpdir(), 'enclaim-notify-'));
  const policyFile = join(folder, 'policy.yaml');
  const policy = await readFile(join(clinic, 'policy.notify.yaml'), 'utf8');
  const here = policy
    .replace('https://mail.example.eu', `https://mail.example.eu:${mailer.port}`)
    .replace(/sha256\/[A-Za-z0-9+/]{43}=/, mailer.spki);
  await writeFile(policyFile, here);
  const app = { policyFile, protoDir: join(clinic, 'proto'), handlersEntry: join(clinic, 'handlers/index.ts') };
  booted = await bootAttested(await buildBundle(app), { resolve: async () => ['127.0.0.1'] });
});
after(async () => {
  await booted.stop();
  await mailer.stop();
  await rm(folder, { recursive: true });
});

/** Submits a request on the wire: a patient's diagnosis, and where to send word. */
async function submitted(address: string | null): Promise<ServiceError | null> {
  const field = (number: number, text: string) => [(number << 3) | 2, text.length, ...Buffer.from(text)];
  const note = field(2, 'HIV positive'); // Annotation.text
  const observation = [(14 << 3) | 2, note.length, ...note];
  const request = [
    ...[(2 << 3) | 2, observation.length, ...observation],
    ...(address === null ? [] : field(3, address)),
  ];
  const channel = await connect(booted.target, { references: booted.references });
  const client = new Client(booted.target, undefined as never, { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(METHOD, same, same, Buffer.from(request), (error: ServiceError | null) => resolve(error));
    });
  } finally {
    client.close();
    channel.close();
  }
}

test('a patient who leaves an address gets word, and the mailer nothing else', async () => {
  assert.equal(await submitted('jane@example.org'), null);
  assert.deepEqual(
    mailer.received.map(({ path, body }) => [path, JSON.parse(body.toString())]),
    [['/v1/send', { to: 'jane@example.org', template: 'case-received' }]],
  );
});

test('a patient who leaves none gets none', async () => {
  const before = mailer.received.length;
  assert.equal(await submitted(null), null);
  assert.equal(mailer.received.length, before);
});

test('a mailer that does not take it leaves the client with a reason and a record', async () => {
  await mailer.stop();
  const error = await submitted('jane@example.org');
  assert(error !== null);
  assert.equal(error.code, 14);
  const [details] = error.metadata.get('grpc-status-details-bin');
  assert.match(String(details), /PEER/);
});
