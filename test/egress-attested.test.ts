/** The clinic's notice to a patient, the whole way: a verified client, a release, a mailer, and what the client is told. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '@enclaim/client';
import { Client, credentials, type ServiceError } from '@grpc/grpc-js';
import { type FakeSubprocessor, startSubprocessor } from './fakes/subprocessor.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { caseOf, MAILER_NAME, notifyBundle, SUBMIT } from './support/notify-app.ts';

let mailer: FakeSubprocessor;
let booted: AttestedRuntime;
before(async () => {
  mailer = await startSubprocessor({ names: [MAILER_NAME] });
  booted = await bootAttested(await notifyBundle(mailer), { resolve: async () => ['127.0.0.1'] });
});
after(async () => {
  await booted.stop();
  await mailer.stop();
});

/** Hands a case in over an attested channel. */
async function submitted(address: string | null): Promise<ServiceError | null> {
  const channel = await connect(booted.target, { references: booted.references });
  const client = new Client(booted.target, credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  try {
    return await new Promise((resolve) => {
      client.makeUnaryRequest(SUBMIT, same, same, caseOf(address), (error) => resolve(error));
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

test('a mailer that is not there leaves the client with a reason', async () => {
  await mailer.stop();
  const error = await submitted('jane@example.org');
  assert(error !== null);
  assert.equal(error.code, 14);
  const [details] = error.metadata.get('grpc-status-details-bin');
  assert.match(String(details), /PEER/);
});
