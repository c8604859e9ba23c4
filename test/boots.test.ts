/**
 * A receipt that nobody had proved is proved after its boot ended, under the quote of that boot, and
 * the boots of the log are read back from the newest, also out of the file of a receipt.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
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
import { parseVerdictDocument } from '@enclaim/attestation/verdict-document';
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
import { enclaim } from './support/command.ts';

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

test('the boots since a receipt are kept with it, and walked over offline', async () => {
  const known = join(folder, 'references.json');
  const [receipt = assert.fail()] = receipts;
  await writeFile(join(folder, 'first.enclaim-receipt'), receiptFile(receipt));
  const words = ['--receipt', join(folder, 'first.enclaim-receipt'), '--boots', '-o', join(folder, 'walked')];
  const saved = await enclaim('log', 'proof', server.target, '--quiet', '--references', known, ...words);
  assert.equal(saved.code, 0, saved.stderr);
  assert.match(saved.stderr, /^boots {2}2 later ones are kept with it; no record between them without a quote$/m);
  const file = parseReceiptFile(await readFile(join(folder, 'walked')));
  assert(file.enclaim === 'receipt/2');
  const { later, verdict } = await verifyReceiptFile(file, { references });
  assert.deepEqual(
    later.map(({ checkpoint, uncovered, ...boot }) => [checkpoint.origin, uncovered, boot.verdict.ok]),
    origins.slice(1).map((origin) => [origin, 0, true]),
  );
  assert.equal(verdict.ok, true);

  const shown = await enclaim('verify', join(folder, 'walked'), '--references', known);
  assert.equal(shown.code, 0, shown.stderr);
  assert.equal(shown.stderr.match(/^ {2}later boot {3}\w{32} goes on from there: size \d+, root \w{64}$/gm)?.length, 2);
  const json = await enclaim('verify', join(folder, 'walked'), '--references', known, '--json');
  const { receipt: document } = parseVerdictDocument(Buffer.from(json.stdout));
  assert.deepEqual(
    document?.proof?.later?.map(({ origin, ok, uncovered }) => [origin, ok, uncovered]),
    origins.slice(1).map((origin) => [origin, true, 0]),
  );

  // No boot of the chain can be left out of it unseen, nor stand for another, nor be of another receipt.
  const [one = assert.fail(), two = assert.fail()] = file.boots ?? [];
  const refuse = (boots: typeof file.boots, words: RegExp) =>
    assert.rejects(verifyReceiptFile({ ...file, boots: boots ?? [] }, { references }), words);
  await refuse([two, one], /began with \d+ records/);
  await refuse([one, one], /its disk was an earlier one/);
  await refuse([two], /of another tree/);
  await refuse([{ ...one, quote: two.quote }, two], /of another tree/);
  await refuse([one, { ...two, grown: one.found }], /does not continue/);
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
  const first = await bootAttested(bundle, { logFile });
  await first.stop();
  const other = await bootAttested(bundle, { logFile, commandLine });
  await other.stop();
  const next = await bootAttested(bundle, { logFile });
  await using _next = { [Symbol.asyncDispose]: () => next.stop() };
  const keys = [first, other, next].map(({ runtime: { statement } }) => statement.device.ak ?? assert.fail('no key'));
  const { anchors } = next.references;
  const path = join(folder, 'other.json');
  await writeFile(path, JSON.stringify({ ...next.references, anchors: { ...anchors, attestationKeys: keys } }));
  const { status, out, errors } = await logBoots(next.target, path);
  assert.deepEqual(out.match(/as expected|REFUSED/g), ['as expected', 'REFUSED', 'as expected'], errors);
  assert.equal(status, 1);

  // The record of the first boot is proved, and what went on from it was no machine that is accepted.
  const file = join(folder, 'other.enclaim-proof');
  const words = ['--index', '0', '--boots', '-o', file, '--quiet', '--references', path];
  const saved = await enclaim('log', 'proof', next.target, ...words);
  assert.equal(saved.code, 0, saved.stderr);
  const walked = await enclaim('verify', file, '--references', path);
  assert.deepEqual(walked.stderr.match(/: (as expected|REFUSED by the references)$/gm), [
    ': REFUSED by the references',
    ': as expected',
  ]);
  assert.equal(walked.code, 1);
});

test('a boot whose key nobody knows is no boot of the log', async () => {
  const known = { ...references, anchors: { ...references.anchors, attestationKeys: [] } };
  await using channel = await connect(server.target, { references: known });
  await assert.rejects(readBoots(channel, { references: known }), /EvidenceError|key/);
});
