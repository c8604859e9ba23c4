/** The clinic's client as grpc-js generates it, unchanged, over an attested channel to the real runtime on a software TPM. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { fromJson, toBinary } from '@bufbuild/protobuf';
import { type AttestedChannel, type CheckedReceipt, connect, parseReceiptFile } from '@enclaim/client';
import { describeServices } from '@enclaim/client/network';
import {
  Channel,
  Client,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { HANGS_MS } from './support/eventually.ts';
import { Program } from './support/program.ts';

/** What proto-loader makes of the service: methods by name. */
type Generated = Client &
  Record<string, (request: object, done: (error: ServiceError | null, response: never) => void) => void>;

const run = promisify(execFile);
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

describe('at the command line', () => {
  const enclaim = (...args: string[]) => run(process.execPath, [join(root, 'cli/src/main.ts'), ...args]);
  let references: string;
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-call-'));
    references = join(folder, 'references.json');
    await writeFile(references, JSON.stringify(server.references));
  });
  after(() => rm(folder, { recursive: true }));

  test('enclaim call sends, prints and keeps the receipt; what is refused prints nothing', async () => {
    const receipt = join(folder, 'it.enclaim-receipt');
    const data = '{"patient":{"resourceType":"Patient","id":"p1","birthDate":"1974-12-25"}}';
    const submit = ['call', server.target, 'clinic.v1.Intake/Submit', '--references', references, '-d', data];
    const sent = await enclaim(...submit, '-H', 'x-trace: 1', '-H', 'x-trace-bin: AAE=', '--save-receipt', receipt);
    assert.match((JSON.parse(sent.stdout) as { caseId: string }).caseId, /./);
    assert.match(sent.stderr, /verdict: ok.*receipt: ok {2}number \d+/s);
    const { messages } = parseReceiptFile(await readFile(receipt));
    assert.deepEqual([messages?.request.length, messages?.response.length], [1, 1]);
    const refused = await enclaim(
      'call',
      server.target,
      'clinic.v1.Intake/Read',
      '--references',
      references,
      '-d',
      '{"caseId":"?"}',
    ).then(
      () => assert.fail('answered'),
      (error: { code: number; stdout: string }) => error,
    );
    // A good server answered, with a status: which is not that something about it was refused.
    assert.deepEqual([refused.code, refused.stdout], [5, '']);
    await assert.rejects(enclaim(...submit, '-H', 'no colon'), { code: 2 });
  });

  test('enclaim call prints health, and fails where a receipt was to be kept and none came', async () => {
    const receipt = join(folder, 'none.enclaim-receipt');
    const check = ['call', server.target, 'grpc.health.v1.Health/Check', '--references', references];
    assert.deepEqual(JSON.parse((await enclaim(...check)).stdout), { status: 'SERVING' });
    await assert.rejects(enclaim(...check, '--save-receipt', receipt), { code: 1, stderr: /ChannelError receipt: / });
    await assert.rejects(readFile(receipt), { code: 'ENOENT' });
  });

  test('enclaim call without a method lists what is exposed, and only that', async () => {
    const { stdout } = await enclaim('call', server.target, '--references', references);
    assert.deepEqual(stdout.trim().split('\n'), [
      'clinic.v1.Intake/Submit  clinic.v1.SubmitRequest → clinic.v1.SubmitResponse',
      'clinic.v1.Intake/Read  clinic.v1.ReadRequest → clinic.v1.ReadResponse',
    ]);
  });

  test('enclaim proxy serves reflection and calls to whoever speaks plain gRPC, until it is told to stop', async () => {
    const args = ['proxy', server.target, '--references', references, '--require', 'claim audited-system'];
    await using proxy = new Program([process.execPath, join(root, 'cli/src/main.ts'), ...args]);
    try {
      const [line] = await proxy.line(/^127\.0\.0\.1:\d+$/);
      const plain = new Channel(line, credentials.createInsecure(), {});
      const { services, registry } = await describeServices(plain, { deadline: Date.now() + HANGS_MS });
      assert.deepEqual(services, ['clinic.v1.Intake']);
      const method = registry.getService('clinic.v1.Intake')?.methods.find(({ name }) => name === 'Read');
      assert(method !== undefined);
      const request = Buffer.from(toBinary(method.input, fromJson(method.input, { caseId: '?' })));
      const client = new Client(line, credentials.createInsecure(), { channelOverride: plain });
      const same = (bytes: Buffer): Buffer => bytes;
      const error = await new Promise<ServiceError | null>((resolve) => {
        client.makeUnaryRequest('/clinic.v1.Intake/Read', same, same, request, resolve);
      });
      assert.ok(error?.metadata.get('enclaim-receipt-bin').length === 1, 'the receipt of the refusal comes through');
      plain.close();
      await assert.rejects(enclaim(...args, '--listen', '0.0.0.0:0'), /ChannelError listen/);
    } finally {
      assert.equal((await proxy.stop()).code, 0);
    }
  });
});

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

  test("gets a handler's status, with a receipt that vouches for it", async () => {
    const before = receipts.length;
    await assert.rejects(call('read', { caseId: 'no such case' }), ({ code, details }: ServiceError) => {
      return code === status.NOT_FOUND && details === 'no such case';
    });
    assert.equal(receipts.length, before + 1);
    assert.notEqual(receipts.at(-1)?.body.status, 0);
  });
});
