/** The log of a machine, read over the network: each receipt's record is in it, and its folder is what others read. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { toHex } from '@enclaim/attestation/bytes';
import { digestText } from '@enclaim/attestation/digest';
import { decodeEntry, recordHash } from '@enclaim/attestation/record';
import { type AttestedChannel, type CheckedReceipt, connect } from '@enclaim/client';
import { copyLog, LogReader } from '@enclaim/client/log';
import { buildBundle } from '@enclaim/image';
import { Client, credentials } from '@grpc/grpc-js';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { readerName } from './support/log-server.ts';
import { needs, PYTHON } from './support/machine-needs.ts';
import { shownCertificate } from './support/shown-certificate.ts';

const run = promisify(execFile);
const clinic = join(import.meta.dirname, '../examples/clinic');
const pair = generateKeyPairSync('ed25519');
const reader = {
  key: readerName(pair.publicKey),
  sign: (message: Uint8Array): Uint8Array => sign(null, message, pair.privateKey),
};
const open = new AsyncDisposableStack();
const receipts: CheckedReceipt[] = [];
let folder: string;
let server: AttestedRuntime;
let channel: AttestedChannel;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-log-'));
  open.defer(() => rm(folder, { recursive: true }));
  const policyFile = join(folder, 'policy.yaml');
  const policy = await readFile(join(clinic, 'policy.yaml'), 'utf8');
  await writeFile(policyFile, policy.replace('  durability:', `  readers: ["${reader.key}"]\n  durability:`));
  const bundle = await buildBundle({
    policyFile,
    protoDir: join(clinic, 'proto'),
    handlersEntry: join(clinic, 'handlers/index.ts'),
  });
  server = open.adopt(await bootAttested(bundle), (each) => each.stop());
  const onReceipt = (receipt: CheckedReceipt): void => void receipts.push(receipt);
  channel = open.use(await connect(server.target, { references: server.references, onReceipt }));
});
after(() => open.disposeAsync());

/** A call that the handler refuses, on record as every other. */
function call(): Promise<void> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  return new Promise((resolve) =>
    client.makeUnaryRequest('/clinic.v1.Intake/Read', same, same, Buffer.of(0x0a, 1, 0x3f), () => resolve()),
  );
}

test('the record of each receipt is in the log, and every record is one', async () => {
  for (let i = 0; i < 5; i++) await call();
  const log = new LogReader(channel, { reader });
  const { size, began } = await log.checkpoint();
  assert.equal(began, 0);
  const entries = await Array.fromAsync(log.entries(0, size));
  const records = entries.map(({ data }) => decodeEntry(data));
  assert.equal(records.length, size);
  assert.match(records[0]?.reason ?? '', /boot/);
  const hashes = new Set(entries.map(({ data }) => digestText('sha256', recordHash(data))));
  assert.equal(receipts.length, 5);
  for (const { body } of receipts) assert.ok(hashes.has(body.record), body.record);
});

test('a watch tells of each call, and the log continues what was seen', async () => {
  const log = new LogReader(channel);
  const sizes: number[] = [];
  for await (const { size } of log.watch()) {
    sizes.push(size);
    if (sizes.length === 3) break;
    await call();
  }
  assert.deepEqual(
    sizes,
    [...sizes].sort((a, b) => a - b),
  );
});

test('a copy goes on where it was', async () => {
  const to = join(folder, 'copy');
  const log = new LogReader(channel, { reader });
  const { written } = await copyLog(log, to, { withEntries: true });
  assert.ok(written >= 2);
  await call();
  const { checkpoint } = await copyLog(log, to, { withEntries: true });
  assert.equal(await readFile(join(to, 'checkpoint'), 'utf8'), checkpoint.note);
});

describe("by Python's grpcio, as reflection describes it", needs("python's gRPC"), () => {
  test('hashes are read over plain h2, entries are not', async () => {
    const certificate = join(folder, 'server.pem');
    const { port } = server.runtime;
    await writeFile(certificate, await shownCertificate(port));
    const log = new LogReader(channel);
    const program = join(import.meta.dirname, 'peers/grpcio/read_log.py');
    const { stdout } = await run(PYTHON, [program, `localhost:${port}`, certificate]);
    const read = JSON.parse(stdout) as { note: string; root: string; entries: string };
    const { note, root } = await log.checkpoint();
    assert.deepEqual(read, { note, root: toHex(root), entries: 'FAILED_PRECONDITION' });
  });
});
