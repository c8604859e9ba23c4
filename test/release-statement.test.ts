/** A release's Transparent Statement shows that it is in the log, to our own code, and no changed bytes do. */

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type CborMap, decodeCbor, encodeCbor } from '@enclaim/attestation/cbor';
import { DecodeError, EvidenceError } from '@enclaim/attestation/errors';
import { verifyTransparentRelease } from '@enclaim/attestation/release';
import { parseCoseReceipt, parseStatement } from '@enclaim/attestation/scitt';
import { type NoteKey, parseNoteKey } from '@enclaim/attestation/tlog';
import { enclaim } from './support/command.ts';

const POLICY = join(import.meta.dirname, '../examples/clinic/policy.yaml');
let folder: string;
let key: NoteKey;
let words: string[];
let bytes: Uint8Array;
const at = (name: string): string => join(folder, name);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-statement-'));
  const pem = generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' });
  await writeFile(at('log.pem'), pem);
  await copyFile(POLICY, at('policy.yaml'));
  const text = await readFile(POLICY, 'utf8');
  await writeFile(at('other.yaml'), text.replace('clinic-intake', 'other'));
  const log = ['--log', at('log'), '--key', at('log.pem')];
  const begun = await enclaim('release', 'init', ...log, '--origin', 'example.com/releases');
  assert.equal(begun.code, 0, begun.stderr);
  key = parseNoteKey(begun.stdout.trim());
  words = ['--log-key', begun.stdout.trim()];
  for (const command of ['add', 'state']) {
    const done = await enclaim('release', command, ...log, at('policy.yaml'), at('other.yaml'));
    assert.equal(done.code, 0, done.stderr);
  }
  bytes = await readFile(at('policy.yaml.scitt'));
});
after(() => rm(folder, { recursive: true }));

async function isShown(statement: Uint8Array, by: NoteKey = key): Promise<boolean> {
  try {
    await verifyTransparentRelease(statement, by);
    return true;
  } catch (error) {
    if (error instanceof DecodeError || error instanceof EvidenceError) return false;
    throw error;
  }
}

test('release state writes what release verify takes as a proof, of this file alone', async () => {
  const { release, index, size } = await verifyTransparentRelease(bytes, key);
  assert.deepEqual([release.kind, index, size], ['policy', 0, 2]);
  const verify = (file: string, proof: string, ...more: string[]) =>
    enclaim('release', 'verify', at(file), '--proof', at(proof), ...words, ...more);
  assert.equal((await verify('policy.yaml', 'policy.yaml.scitt', '--log', at('log'))).code, 0);
  assert.equal((await verify('other.yaml', 'other.yaml.scitt')).code, 0);
  assert.equal((await verify('policy.yaml', 'other.yaml.scitt')).code, 2);
  const witnessed = await verify('policy.yaml', 'policy.yaml.scitt', '--witness', words[1] ?? '');
  assert.deepEqual([witnessed.code, /--witness/.test(witnessed.stderr)], [2, true], 'no demand is dropped unsaid');
});

test('a policy that is not in the log is not stated', async () => {
  await writeFile(at('third.yaml'), (await readFile(POLICY, 'utf8')).replace('clinic-intake', 'third'));
  const { code } = await enclaim('release', 'state', '--log', at('log'), '--key', at('log.pem'), at('third.yaml'));
  assert.notEqual(code, 0);
});

test('no statement with another byte, cut short or longer, shows anything', async () => {
  assert.ok(await isShown(bytes));
  for (let i = 0; i < bytes.length; i++) {
    const flipped = Uint8Array.from(bytes);
    flipped[i] = (flipped[i] ?? 0) ^ (1 << (i % 8));
    assert.equal(await isShown(flipped), false, `byte ${i}`);
    assert.equal(await isShown(bytes.subarray(0, i)), false, `${i} bytes`);
  }
  assert.equal(await isShown(Buffer.concat([bytes, Buffer.of(0)])), false);
});

test('a statement without its receipt, with two, or with that of another release shows nothing', async () => {
  const { tag, value } = decodeCbor(bytes) as { tag: number; value: (Uint8Array | CborMap)[] };
  const [own] = parseStatement(bytes).receipts;
  const [other] = parseStatement(await readFile(at('other.yaml.scitt'))).receipts;
  const withReceipts = (...receipts: (Uint8Array | undefined)[]): Uint8Array =>
    encodeCbor({ tag, value: value.with(1, new Map([[394, receipts as Uint8Array[]]])) });
  assert.ok(await isShown(withReceipts(own)));
  assert.equal(await isShown(withReceipts(other)), false);
  assert.equal(await isShown(withReceipts(own, own)), false);
  assert.equal(await isShown(withReceipts()), false);
  assert.equal(await isShown(encodeCbor({ tag, value: value.with(1, new Map()) })), false);
  assert.throws(() => parseCoseReceipt(bytes), DecodeError, 'a statement is no receipt');
  assert.throws(() => parseStatement(own ?? assert.fail()), DecodeError, 'nor a receipt a statement');
});

test('the key of another log shows nothing', async () => {
  const raw = generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  assert.equal(await isShown(bytes, { ...key, publicKey: Uint8Array.from(raw) }), false);
  assert.equal(await isShown(bytes, { ...key, name: 'example.com/other' }), false);
});
