/**
 * A record's proof and receipts are files that `enclaim verify` reads, from the machine, a copy or the disk; what was changed in
 * them is refused. Witnesses are asked by the courier. Nothing is signed of a record before its write has resolved.
 */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { utf8 } from '@enclaim/attestation/bytes';
import { leafHash } from '@enclaim/attestation/merkle';
import { formatNoteKey, parseNoteKey } from '@enclaim/attestation/tlog';
import { parseVerdictDocument } from '@enclaim/attestation/verdict-document';
import { connect, DecodeError, EvidenceError } from '@enclaim/client';
import { LogReader, verifyCoseReceiptFile } from '@enclaim/client/log';
import { verifyProofFile } from '@enclaim/client/proof';
import { NOTES } from '../cli/src/manual/notes.ts';
import { mismatch } from '../cli/src/manual/shape.ts';
import type { CosigningKey } from '../cli/src/witness/signer.ts';
import { type AttestedRuntime, bootAttested } from './support/attested-runtime.ts';
import { type Ended, enclaim } from './support/command.ts';
import { eventually } from './support/eventually.ts';
import { buildClinic } from './support/witnessed-clinic.ts';
import { openWitness, witnessKeys } from './support/witnessed-log.ts';

const keys = witnessKeys();
const [classic] = keys as [CosigningKey];
const LINES = [`witness classic ${formatNoteKey(classic.key)}`, 'quorum classic'];
/** Bytes of evidence of which one is changed. */
const STRIDE = 13;
/** Writes of the log that wait to be let through; null while none is held. */
let held: (() => void)[] | null = null;
let machine: AttestedRuntime;
let folder: string;
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-log-proof-'));
  const bundle = await buildClinic(folder, { witnesses: LINES, unwitnessed: 10_000 });
  machine = await bootAttested(bundle, {
    device: (honest) => ({
      read: honest.read.bind(honest) as typeof honest.read,
      close: () => honest.close(),
      write: (async (...words: Parameters<typeof honest.write>) => {
        if (held !== null) await new Promise<void>((resolve) => held?.push(resolve));
        return honest.write(...words);
      }) as typeof honest.write,
    }),
  });
  await writeFile(at('references.json'), JSON.stringify(machine.references));
  for (let i = 0; i < 3; i++) await call();
});
after(async () => {
  await machine?.stop();
  await rm(folder, { recursive: true });
});

/** A call of the clinic; its answer, as soon as there is one. */
async function call(): Promise<void> {
  const session = connectHttp2(`https://${machine.target}`, { rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  const headers = { ':method': 'POST', ':path': '/clinic.v1.Intake/Submit', te: 'trailers' };
  const stream = session.request({ ...headers, 'content-type': 'application/grpc' });
  stream.end(Buffer.alloc(5));
  await Array.fromAsync(stream as AsyncIterable<Buffer>);
  session.destroy();
}

const asked = (command: string, ...rest: readonly string[]): Promise<Ended> =>
  enclaim('log', command, machine.target, '--references', at('references.json'), '--quiet', ...rest);

/** Verifies a file of the folder under the machine's attestation key. */
async function verified(name: string): Promise<Record<string, unknown>> {
  await using channel = await connect(machine.target, { references: machine.references });
  const ak = channel.attestation.statement.device.ak ?? assert.fail();
  const words = ['verify', at(name), '--references', at('references.json'), '--ak', ak, '--json'];
  const { code, stdout, stderr } = await enclaim(...words);
  assert.equal(code, 0, stdout + stderr);
  return { ...parseVerdictDocument(utf8(stdout)).record };
}

/** Why a changed file is refused. */
async function refusal(name: string, content: Uint8Array): Promise<string> {
  await writeFile(at(name), content);
  await using channel = await connect(machine.target, { references: machine.references });
  const ak = channel.attestation.statement.device.ak ?? assert.fail();
  const words = ['verify', at(name), '--references', at('references.json'), '--ak', ak, '--json'];
  const { code, stdout } = await enclaim(...words);
  assert.notEqual(code, 0, name);
  const { error } = JSON.parse(stdout) as { error: { name: string; code: string } };
  return `${error.name} ${error.code}`;
}

test('log proof: the way of a record by its index to a quote, and into a receipt file', async () => {
  const made = await asked('proof', '--index', '1', '-o', at('1.enclaim-proof'));
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stderr, /^later {2}enclaim verify .*1\.enclaim-proof --references .* --ak sha256:/m);
  const record = await verified('1.enclaim-proof');
  assert.deepEqual([record.kind, record.index], ['quoted', 1]);
  const text = await readFile(at('1.enclaim-proof'), 'utf8');
  const other = text.replace(/sha256:[0-9a-f]{4}/, 'sha256:0000');
  assert.equal(await refusal('other.enclaim-proof', Buffer.from(other)), 'EvidenceError log');

  const saved = ['call', machine.target, 'clinic.v1.Intake/Submit', '-d', '{"patient":{"id":"p1"}}'];
  const receipt = at('first.enclaim-receipt');
  const called = await enclaim(...saved, '--references', at('references.json'), '--save-receipt', receipt);
  assert.equal(called.code, 0, called.stderr);
  const proven = await asked('proof', '--receipt', receipt, '-o', at('proven.enclaim-receipt'));
  assert.equal(proven.code, 0, proven.stderr);
  const { enclaim: version } = JSON.parse(await readFile(at('proven.enclaim-receipt'), 'utf8')) as { enclaim: string };
  assert.equal(version, 'receipt/2');
  await verified('proven.enclaim-receipt');
});

test('log receipt: COSE receipts of the machine, of a copy and of the disk say the same of one record', async () => {
  assert.equal((await asked('receipt', '--index', '1', '-o', at('live.cose'))).code, 0);
  assert.equal((await asked('tiles', '--to', at('copy'))).code, 0);
  const copy = ['log', 'receipt', '--copy', at('copy')];
  assert.equal((await enclaim(...copy, '--index', '1', '-o', at('copied.cose'))).code, 0);
  await truncate(machine.logFile, 16 * 1024 * 1024);
  const disk = await enclaim(...copy, '--disk', machine.logFile, '--index', '1', '-o', at('disk.cose'));
  assert.equal(disk.code, 0, disk.stderr);
  assert.deepEqual(await readFile(at('disk.cose')), await readFile(at('copied.cose')));
  const found = await Promise.all(['live', 'copied'].map((name) => verified(`${name}.cose`)));
  assert.deepEqual(new Set(found.map(({ record }) => record)).size, 1);
  for (const { kind, index } of found) assert.deepEqual([kind, index], ['inclusion', 1]);

  assert.equal((await asked('receipt', '--since', '2', '-o', at('since.cose'))).code, 0);
  const grown = await verified('since.cose');
  assert.deepEqual([grown.kind, grown.old], ['consistency', 2]);
  await using channel = await connect(machine.target, { references: machine.references });
  const log = new LogReader(channel);
  const leaves = await log.tile(0, 0);
  assert.equal(found[0]?.record, `sha256:${Buffer.from(leaves.subarray(32, 64)).toString('hex')}`);
});

test('a receipt that was changed, or has the evidence of another machine, is refused', async () => {
  const whole = await readFile(at('live.cose'));
  const record = leafHash(Buffer.from('another'));
  const start = whole.indexOf(Buffer.from('known')) + 5 + 2;
  assert.equal(whole[start - 1], 32);
  const other = Buffer.concat([whole.subarray(0, start), record, whole.subarray(start + 32)]);
  assert.equal(await refusal('known.cose', other), 'EvidenceError signature');
  const last = Buffer.from(whole);
  last[last.length - 1] = (last.at(-1) ?? 0) ^ 1;
  assert.equal(await refusal('signature.cose', last), 'EvidenceError signature');
  assert.equal(await refusal('cut.cose', whole.subarray(0, -1)), 'DecodeError truncated');
  const origin = Buffer.from(whole.toString('latin1').replace('intake/', 'other_/'), 'latin1');
  assert.match(await refusal('origin.cose', origin), /EvidenceError (binding|signature)/);
});

test('no receipt or proof with another byte verifies, its evidence included', async () => {
  await using channel = await connect(machine.target, { references: machine.references });
  const ak = channel.attestation.statement.device.ak ?? assert.fail();
  const { anchors } = machine.references;
  const references = { ...machine.references, anchors: { ...anchors, attestationKeys: [ak] } };
  const readers = { 'live.cose': verifyCoseReceiptFile, 'since.cose': verifyCoseReceiptFile };
  for (const [name, verify] of Object.entries(readers)) {
    const whole = await readFile(at(name));
    const isShown = async (bytes: Uint8Array): Promise<boolean> => {
      try {
        return (await verify(bytes, { references })).verdict.ok;
      } catch (error) {
        if (error instanceof DecodeError || error instanceof EvidenceError) return false;
        throw error;
      }
    };
    assert.ok(await isShown(whole));
    for (let i = 0; i < whole.length; i += i < 300 ? 1 : STRIDE) {
      const flipped = Buffer.from(whole);
      flipped[i] = (flipped[i] ?? 0) ^ (1 << (i % 8));
      assert.equal(await isShown(flipped), false, `${name}, byte ${i}`);
    }
  }
  const proof = JSON.parse(await readFile(at('1.enclaim-proof'), 'utf8')) as { proof: string };
  const bytes = Buffer.from(proof.proof, 'base64');
  for (let i = 0; i < bytes.length; i += STRIDE) {
    const flipped = Buffer.from(bytes);
    flipped[i] = (flipped[i] ?? 0) ^ (1 << (i % 8));
    const file = utf8(JSON.stringify({ ...proof, proof: flipped.toString('base64') }));
    const shown = verifyProofFile(file, { references }).then(({ verdict }) => verdict.ok);
    assert.equal(await shown.catch((error: Error) => !/^(Decode|Evidence)Error$/.test(error.name)), false, `byte ${i}`);
  }
});

test('words that do not go together are usage errors, and a damaged copy is refused', async () => {
  for (const words of [
    ['receipt', '--index', '1'],
    ['receipt', '--index', '1', '--since', '2', '-o', at('x')],
    ['receipt', '--since', 'x', '-o', at('x')],
    ['receipt', '--index', '1', '--copy', at('copy'), '-o', at('x')],
    ['receipt', '--index', '1', '--disk', machine.logFile, '-o', at('x')],
    ['receipt', '--index', '999999', '-o', at('x')],
    ['receipt', '--since', '999999', '-o', at('x')],
    ['proof', '-o', at('x')],
    ['proof', '--index', '999999', '-o', at('x')],
  ])
    assert.equal((await asked(...(words as [string, ...string[]]))).code, 2, words.join(' '));
  assert.equal((await enclaim('log', 'receipt', '--index', '1', '-o', at('x'))).code, 2);
  const copy = at('damaged');
  assert.equal((await asked('tiles', '--to', copy)).code, 0);
  await using channel = await connect(machine.target, { references: machine.references });
  const { size } = await new LogReader(channel).checkpoint();
  const tile = join(copy, `tile/0/000.p/${size}`);
  await writeFile(tile, Buffer.alloc(32 * size, 1));
  const refused = await enclaim('log', 'receipt', '--copy', copy, '--index', '1', '-o', at('x'));
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /EvidenceError log/);
});

test('log courier has a witness cosign the newest checkpoint, and says what counts', async () => {
  await using channel = await connect(machine.target, { references: machine.references });
  const { origin, key, size } = await new LogReader(channel).checkpoint();
  await using witness = await openWitness([{ origin, key: parseNoteKey(key) }], { keys: [classic] });
  await writeFile(at('witnesses'), `${LINES[0]} ${witness.address}\n${LINES[1]}\n`);
  const carried = await asked('courier', '--witnesses', at('witnesses'), '--count', '1', '--json');
  assert.equal(carried.code, 0, carried.stderr);
  const told = JSON.parse(carried.stdout) as { size: number; reached: boolean; cosigned: number };
  assert.equal(mismatch(NOTES['log courier']?.json ?? '', told), null);
  assert.ok(told.reached && told.cosigned === told.size && told.size >= size, carried.stdout);
});

test('log courier: a witness that is not there is told, and no quorum is handed in', async () => {
  await writeFile(at('away'), `${LINES[0]} http://127.0.0.1:9\n${LINES[1]}\n`);
  const { code, stdout, stderr } = await asked('courier', '--witnesses', at('away'), '--count', '1');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^\d+ no quorum\n$/);
  assert.match(stderr, /witness: /);
});

test('while a write is under way, no checkpoint, receipt or tile has its record, and no caller its answer', async () => {
  await using channel = await connect(machine.target, { references: machine.references });
  const log = new LogReader(channel);
  const { size } = await log.checkpoint();
  held = [];
  let isAnswered = false;
  const answer = call().then(() => {
    isAnswered = true;
  });
  await eventually('the write of the record', () => (held?.length ?? 0) > 0);
  assert.equal((await log.checkpoint()).size, size);
  await log.receipt({ index: size - 1 });
  await assert.rejects(log.receipt({ index: size }), RangeError);
  const beyond = await asked('proof', '--index', String(size), '-o', at('beyond'));
  assert.equal(beyond.code, 2, beyond.stderr);
  assert.equal(isAnswered, false);
  const waiting = held;
  held = null;
  for (const go of waiting) go();
  await answer;
  const grown = await eventually('a checkpoint with the record', async () => {
    const now = await log.checkpoint();
    return now.size > size ? now : null;
  });
  assert.ok(grown.size > size);
  await log.receipt({ index: size });
});
