/** The clinic's client as grpc-js generates it, unchanged, over an attested channel to the real runtime on a software TPM. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type AttestedChannel, type CheckedReceipt, connect } from '@enclaim/client';
import {
  type Client,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';

/** What proto-loader makes of the service: methods by name. */
type Generated = Client &
  Record<string, (request: object, done: (error: ServiceError | null, response: never) => void) => void>;

const root = join(import.meta.dirname, '..');
let server: AttestedRuntime;
let channel: AttestedChannel;
let intake: Generated;
const receipts: CheckedReceipt[] = [];

before(async () => {
  server = await bootAttested(await clinicBundle());
  const { references, target } = server;
  channel = await connect(target, { references, onReceipt: (receipt) => receipts.push(receipt) });
  const includeDirs = [join(root, 'examples/clinic/proto'), join(root, 'policy-schema/proto')];
  const loaded = loadPackageDefinition(loadSync('clinic/v1/intake.proto', { includeDirs }));
  const { Intake } = (loaded.clinic as { v1: { Intake: ServiceClientConstructor } }).v1;
  intake = new Intake(target, credentials.createInsecure(), { channelOverride: channel }) as unknown as Generated;
});
after(async () => {
  channel.close();
  await server.stop();
});

function call<T>(method: string, request: object): Promise<T> {
  return new Promise((resolve, reject) => {
    intake[method]?.(request, (error, response) => (error === null ? resolve(response) : reject(error)));
  });
}

describe("the clinic's generated client", () => {
  test('submits a case and reads it back, each with its receipt', async () => {
    const patient = { resourceType: 'Patient', id: 'p1', birthDate: '1974-12-25', name: [{ family: 'Chalmers' }] };
    const { caseId } = await call<{ caseId: string }>('submit', { patient });
    const read = await call<{ patient: { birthDate: string } }>('read', { caseId });
    assert.equal(read.patient.birthDate, '1974-12-25');
    assert.deepEqual(
      receipts.map(({ body }) => [body.method, body.decision.result]),
      [
        ['clinic.v1.Intake/Submit', 'allow'],
        ['clinic.v1.Intake/Read', 'allow'],
      ],
    );
  });

  test("gets the runtime's refusals as statuses, with a receipt that vouches for them", async () => {
    const before = receipts.length;
    await assert.rejects(call('read', { caseId: 'no such case' }), (error: ServiceError) => error.code !== 0);
    assert.equal(receipts.length, before + 1);
    assert.notEqual(receipts.at(-1)?.body.status, 0);
  });
});
