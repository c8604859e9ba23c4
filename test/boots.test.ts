/**
 * A receipt that nobody had proved is proved after its boot ended, under the quote of that boot, and
 * the boots of the log are read back from the newest.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import type { References } from '@enclaim/attestation';
import { toBase64 } from '@enclaim/attestation/bytes';
import { Log } from '@enclaim/attestation/log-service';
import { launchCommandLine } from '@enclaim/attestation/measure';
import { recordOf } from '@enclaim/attestation/record-proof';
import {
  type AttestedChannel,
  type CheckedReceipt,
  connect,
  parseReceiptFile,
  receiptFile,
  verifyReceiptFile,
} from '@enclaim/client';
import { readBoots } from '@enclaim/client/log';
import { projectRoot } from '@enclaim/image';
import { Client, credentials } from '@grpc/grpc-js';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested, PRETEND_IMAGE } from './support/attested-runtime.ts';

const open = new AsyncDisposableStack();
const origins: string[] = [];
const receipts: CheckedReceipt[] = [];
let folder: string;
let server: AttestedRuntime;
let references: References;

const same = (bytes: Buffer): Buffer => bytes;

function ask(channel: AttestedChannel, path: string, request: Uint8Array): Promise<Buffer> {
  const client = new Client(channel.getTarget(), credentials.createInsecure(), { channelOverride: channel });
  return new Promise((resolve, reject) =>
    client.makeUnaryRequest(path, same, same, Buffer.from(request), (error, answer) =>
      error === null && answer !== undefined ? resolve(answer) : reject(error),
    ),
  );
}

/** Runs `enclaim log boots`. */
async function logBoots(target: string, known: string): Promise<{ status: unknown; out: string; errors: string }> {
  const command = [join(projectRoot, 'cli/src/main.ts'), 'log', 'boots', target, '--quiet', '--references', known];
  const child = spawn(process.execPath, command);
  const [[status], out, errors] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]);
  return { status, out, errors };
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-boots-'));
  open.defer(() => rm(folder, { recursive: true }));
  const bundle = await clinicBundle();
  const keys: `sha256:${string}`[] = [];
  for (let i = 0; i < 3; i++) {
    server = await bootAttested(bundle, { logFile: join(folder, 'log') });
    const { device, log } = server.runtime.statement;
    keys.push(device.ak ?? assert.fail('a TPM has an attestation key'));
    origins.push(log.origin);
    if (i === 2) break;
    await using channel = await connect(server.target, {
      references: server.references,
      onReceipt: (receipt) => void receipts.push(receipt),
    });
    await ask(channel, '/clinic.v1.Intake/Read', Buffer.of(0x0a, 1, 0x3f)).catch(() => {});
    await server.stop();
  }
  open.defer(() => server.stop());
  const { anchors } = server.references;
  references = { ...server.references, anchors: { ...anchors, attestationKeys: keys } };
  await writeFile(join(folder, 'references.json'), JSON.stringify(references));
});
after(() => open.disposeAsync());

test('a receipt of each earlier boot is proved by a later one, and verifies offline', async () => {
  assert.equal(receipts.length, 2);
  await using channel = await connect(server.target, { references });
  for (const [i, receipt] of receipts.entries()) {
    const { index } = recordOf(receipt.body) ?? assert.fail('the receipt names its record');
    assert.ok(index < server.runtime.statement.log.size);
    const { input } = Log.method.getProof;
    const request = toBinary(input, create(input, { index: BigInt(index) }));
    const proof = await ask(channel, '/enclaim.v1.Log/GetProof', request);
    const file = parseReceiptFile(receiptFile(receipt, undefined, proof));
    const verified = await verifyReceiptFile(file, { references });
    assert.equal(verified.verdict.ok, true);
    assert.equal(verified.proof?.checkpoint.origin, origins[i]);
    // The proof of one boot's record says nothing of another's.
    const other = receipts[1 - i] ?? assert.fail();
    const mixed = parseReceiptFile(receiptFile(other, undefined, proof));
    assert(mixed.enclaim === 'receipt/2' && mixed.proof === toBase64(proof));
    await assert.rejects(verifyReceiptFile(mixed, { references }), /EvidenceError|binding|proof of record/);
  }
});

test('the boots are read back from the newest, each continued by the next', async () => {
  await using channel = await connect(server.target, { references });
  const boots = await readBoots(channel, { references });
  assert.deepEqual(
    boots.map(({ checkpoint }) => checkpoint.origin),
    origins,
  );
  assert.ok(boots.every(({ verdict, uncovered }) => verdict.ok && uncovered === 0));
  const { status, out, errors } = await logBoots(server.target, join(folder, 'references.json'));
  assert.match(
    out,
    /^boot \w+ {2}records 0 to \d+ {2}root \w{64}\n {2}quote tpm, policy sha384:\w+: as expected$/m,
    errors,
  );
  assert.equal(out.match(/^boot /gm)?.length, 3);
  assert.equal(status, 0);
});

test('a boot that the references refuse is told as refused, by the exit status, too', async () => {
  const bundle = await clinicBundle();
  const logFile = join(folder, 'other-log');
  const commandLine = `${launchCommandLine(PRETEND_IMAGE, bundle.policy)} debug`;
  const other = await bootAttested(bundle, { logFile, commandLine });
  await other.stop();
  const next = await bootAttested(bundle, { logFile });
  await using _next = { [Symbol.asyncDispose]: () => next.stop() };
  const keys = [other, next].map(({ runtime: { statement } }) => statement.device.ak ?? assert.fail('no key'));
  const { anchors } = next.references;
  const path = join(folder, 'other.json');
  await writeFile(path, JSON.stringify({ ...next.references, anchors: { ...anchors, attestationKeys: keys } }));
  const { status, out, errors } = await logBoots(next.target, path);
  assert.deepEqual(out.match(/as expected|REFUSED/g), ['REFUSED', 'as expected'], errors);
  assert.equal(status, 1);
});

test('a boot whose key nobody knows is no boot of the log', async () => {
  const known = { ...references, anchors: { ...references.anchors, attestationKeys: [] } };
  await using channel = await connect(server.target, { references: known });
  await assert.rejects(readBoots(channel, { references: known }), /EvidenceError|key/);
});
