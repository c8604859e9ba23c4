/**
 * A receipt with its proof verifies offline and at any later time, and no single change of its file
 * goes unnamed; a call whose proof does not come is not taken for one that is proved.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import type { References } from '@enclaim/attestation';
import { toBase64 } from '@enclaim/attestation/bytes';
import { DecodeError, EvidenceError } from '@enclaim/attestation/errors';
import { connect, parseReceiptFile, type ReceiptFile, verifyReceiptFile } from '@enclaim/client';
import { projectRoot } from '@enclaim/image';
import { Client, credentials } from '@grpc/grpc-js';
import { clinicBundle } from './support/app.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { eventually } from './support/eventually.ts';
import { count } from './support/long.ts';
import { fc } from './support/properties.ts';

const SUBMIT = 'clinic.v1.Intake/Submit';
const REQUEST = JSON.stringify({ patient: { resourceType: 'Patient', id: 'p1', birthDate: '1974-12-25' } });
const CLI = join(projectRoot, 'cli/src/main.ts');

let folder: string;
let server: AttestedRuntime;
/** Whether the hardware makes this quote. */
let gate = (): boolean => true;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-proven-'));
  server = await bootAttested(await clinicBundle(), {
    platform: (honest) => ({
      ...honest,
      sign: (root, boot) => (gate() ? honest.sign(root, boot) : Promise.reject(new Error('no TPM'))),
    }),
  });
  await writeFile(join(folder, 'references.json'), JSON.stringify(server.references));
});
after(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

/** Runs the command line, in `folder`. */
async function enclaim(...words: string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [CLI, ...words], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  return { status, stdout, stderr };
}

const call = (file: string, ...more: string[]) =>
  enclaim(
    ...['call', server.target, SUBMIT, '-d', REQUEST, '--references', 'references.json', '--quiet'],
    ...['--prove', '--save-receipt', file, ...more],
  );
const ak = (): string => server.runtime.statement.device.ak ?? assert.fail('a TPM has an attestation key');
const verify = (file: string, ...more: string[]) =>
  enclaim('verify', file, '--references', 'references.json', '--ak', ak(), ...more);

/** References that pin the attestation key, so that evidence verifies offline. */
const pinned = (): References => ({
  ...server.references,
  anchors: { ...server.references.anchors, attestationKeys: [ak() as `sha256:${string}`] },
});

describe('a receipt with its proof', () => {
  let file: Extract<ReceiptFile, { enclaim: 'receipt/2' }>;

  test('is had by a call that waits for it, and shows the way to the hardware', async () => {
    const { status, stderr, stdout } = await call('one.enclaim-receipt');
    assert.equal(status, 0, stderr);
    assert.match(stdout, /caseId/);
    const { log, bootId } = server.runtime.statement;
    assert.match(stderr, new RegExp(`receipt {6}signed by the receipt key of boot ${bootId}`));
    assert.match(stderr, new RegExp(`leaf {9}record \\d+ of ${log.origin}, written by this boot`));
    assert.match(stderr, /checkpoint {3}size \d+, root [0-9a-f]{64}, \d+ hashes above the leaf, signed by the log key/);
    assert.match(stderr, /quote {8}tpm: covers leaf \d+ of 64, 6 hashes above the checkpoint/);
    const parsed = parseReceiptFile(await readFile(join(folder, 'one.enclaim-receipt')));
    assert(parsed.enclaim === 'receipt/2');
    file = parsed;
  });

  test('verifies offline, now and as of its own time, and says whose time that is', async () => {
    const { status, stderr } = await verify('one.enclaim-receipt');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /passed {3}checkpoint/);
    assert.match(stderr, /not run {2}nonce/);
    assert.match(stderr, /^proof: from the receipt to the hardware$/m);
    assert.doesNotMatch(stderr, /as of/);
    const then = await verify('one.enclaim-receipt', '--as-of', 'receipt');
    assert.equal(then.status, 0, then.stderr);
    assert.match(
      then.stderr,
      /^as of: \S+Z, by the clock of the machine that answered, which its host sets \(strength host\)/m,
    );
    const { stdout } = await verify('one.enclaim-receipt', '--json');
    const { receipt, verdict } = JSON.parse(stdout);
    assert.equal(verdict.ok, true);
    assert.equal(receipt.proof.origin, server.runtime.statement.log.origin);
    assert.ok(receipt.proof.index < receipt.proof.size);
  });

  test('is one whose policy can be shown', async () => {
    const { status, stdout, stderr } = await enclaim('policy', 'digest', 'one.enclaim-receipt');
    assert.equal(status, 0, stderr);
    assert.match(stdout, new RegExp(server.runtime.statement.policy));
  });

  test('does not verify under references of another machine', async () => {
    const { status } = await enclaim('verify', 'one.enclaim-receipt', '--references', 'references.json');
    assert.notEqual(status, 0);
  });

  test('with any single change is refused by name', async () => {
    const options = { references: pinned() };
    const honest = await verifyReceiptFile(file, options);
    assert.equal(honest.verdict.ok, true);
    const { messages } = file;
    assert(messages !== null);
    const parts: readonly [name: string, bytes: string, put: (changed: string) => ReceiptFile][] = [
      ['receipt', file.receipt, (receipt) => ({ ...file, receipt })],
      ['proof', file.proof, (proof) => ({ ...file, proof })],
      ['request', messages.request[0] ?? '', (one) => ({ ...file, messages: { ...messages, request: [one] } })],
      ['response', messages.response[0] ?? '', (one) => ({ ...file, messages: { ...messages, response: [one] } })],
    ];
    let named = 0;
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), fc.constantFrom('flip', 'drop', 'add', 'cut'), async (which, where, how) => {
        const [name, encoded, put] = parts[which % parts.length] ?? assert.fail();
        const bytes = Buffer.from(encoded, 'base64');
        const at = where % bytes.length;
        const changed =
          how === 'flip'
            ? Buffer.concat([
                bytes.subarray(0, at),
                Buffer.of((bytes[at] ?? 0) ^ (1 << (where % 8))),
                bytes.subarray(at + 1),
              ])
            : how === 'drop'
              ? Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)])
              : how === 'add'
                ? Buffer.concat([bytes.subarray(0, at), Buffer.of(where % 256), bytes.subarray(at)])
                : bytes.subarray(0, at);
        await assert.rejects(
          verifyReceiptFile(put(toBase64(changed)), options),
          (error) => error instanceof EvidenceError || error instanceof DecodeError,
          `${how} byte ${at} of the ${name}`,
        );
        named++;
      }),
      { numRuns: count(1000, 1000, 20) },
    );
    assert.ok(named >= 20);
  });

  test('of one call does not stand for another', async () => {
    const { status, stderr } = await call('two.enclaim-receipt');
    assert.equal(status, 0, stderr);
    const other = parseReceiptFile(await readFile(join(folder, 'two.enclaim-receipt')));
    assert(other.enclaim === 'receipt/2');
    const options = { references: pinned() };
    const mixed = verifyReceiptFile({ ...file, proof: other.proof }, options);
    await assert.rejects(mixed, (error) => error instanceof EvidenceError && error.code === 'binding');
  });
});

test('where no quote comes the call is not proved, and its receipt is kept without', async () => {
  // The first quote is that of the connection; none comes after it.
  let left = 1;
  gate = () => left-- > 0;
  const { status, stderr } = await call('three.enclaim-receipt');
  gate = () => true;
  assert.notEqual(status, 0);
  assert.match(stderr, /no proof of its record came; three.enclaim-receipt has the evidence of the connection alone/);
  assert.equal(parseReceiptFile(await readFile(join(folder, 'three.enclaim-receipt'))).enclaim, 'receipt/1');
});

test('hardware that goes silent ends the service until it speaks again', async () => {
  const channel = await connect(server.target, { references: server.references });
  const client = new Client(server.target, credentials.createInsecure(), { channelOverride: channel });
  const same = (bytes: Buffer): Buffer => bytes;
  /** What a caller is told of a call. */
  const told = (): Promise<string> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(`/${SUBMIT}`, same, same, Buffer.alloc(0), (error) => resolve(error?.details ?? 'OK'));
    });
  const isSilent = async (): Promise<boolean> =>
    (await told()) === 'the hardware gave no quote of the log for too long';
  try {
    assert.equal(await isSilent(), false);
    gate = () => false;
    await eventually('calls are refused', isSilent);
    gate = () => true;
    await eventually('calls are answered', async () => !(await isSilent()));
  } finally {
    gate = () => true;
    channel.close();
  }
});
