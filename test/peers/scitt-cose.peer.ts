/**
 * Our COSE receipts and Transparent Statements are verified, proof and signature, by software that nobody here wrote
 * (scitt-cose, at the version of scitt-cose/requirements.txt). `scripts/test-engines`.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { toHex, utf8 } from '../../attestation/src/bytes.ts';
import { DecodeError } from '../../attestation/src/errors.ts';
import { consistencyPath, inclusionPath, leafHash, merkleRoot } from '../../attestation/src/merkle.ts';
import {
  encodeCoseReceipt,
  encodeStatement,
  keyThumbprint,
  parseCoseReceipt,
  type ReceiptProof,
  statementMessage,
  treeMessage,
} from '../../attestation/src/scitt/index.ts';
import { treeHeaders } from '../../attestation/src/scitt/signed-tree.ts';
import { ed25519Key } from '../../attestation/src/statement.ts';
import { needs, PYTHON } from '../support/machine-needs.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const raw = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
const key = ed25519Key(raw);
const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
const keyId = keyThumbprint(key);
const entries = Array.from({ length: 70 }, (_, i) => utf8(`{"entry":${i}}`));
const leaves = entries.map(leafHash);
const named = { origin: 'clinic/0123', subject: 'enclaim/record/v2' };

/** A receipt of the tree of `size`. With evidence beside it, as those of a machine have. */
function receiptOf(size: number, proof: ReceiptProof, known: Uint8Array): Uint8Array {
  const tree = { ...named, size };
  const signature = sign(null, treeMessage(tree, merkleRoot(leaves.slice(0, size)), key), privateKey);
  return encodeCoseReceipt({ tree, keyId, proof, signature, companion: { known, evidence: utf8('evidence') } });
}
function inclusion(index: number, size: number): Uint8Array {
  const path = inclusionPath(leaves.slice(0, size), index);
  return receiptOf(size, { kind: 'inclusion', index, path }, leaves[index] ?? assert.fail());
}

describe('scitt-cose', needs("python's venv"), () => {
  let folder: string;
  let program: ChildProcess;
  let lines: AsyncIterator<string>;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'enclaim-scitt-cose-'));
    const from = join(import.meta.dirname, 'scitt-cose');
    execFileSync(PYTHON, ['-m', 'venv', folder], { stdio: 'inherit' });
    const locked = ['--require-hashes', '--only-binary', ':all:', '--no-deps', '--disable-pip-version-check'];
    const words = ['install', '-q', ...locked, '-r', join(from, 'requirements.txt')];
    execFileSync(join(folder, 'bin/pip'), words, { stdio: 'inherit' });
    program = spawn(join(folder, 'bin/python'), [join(from, 'verify.py')], { stdio: ['pipe', 'pipe', 'inherit'] });
    lines = createInterface({ input: program.stdout ?? assert.fail() })[Symbol.asyncIterator]();
  });
  after(async () => {
    program?.kill();
    await rm(folder, { recursive: true });
  });

  /** What the peer is shown by a message; null for nothing. */
  async function shown(
    kind: string,
    message: Uint8Array,
    more: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    program.stdin?.write(`${JSON.stringify({ kind, message: toHex(message), key: pem, ...more })}\n`);
    const { value, done } = await lines.next();
    return done === true ? assert.fail('the peer ended') : JSON.parse(value);
  }
  const entryOf = (index: number): { entry: string } => ({ entry: toHex(entries[index] ?? assert.fail()) });

  test('receipts of inclusion, of trees of every shape', async () => {
    for (const size of [1, 2, 3, 4, 5, 7, 8, 13, 64, 70])
      for (const index of new Set([0, size >> 1, size - 1])) {
        const root = toHex(merkleRoot(leaves.slice(0, size)));
        const expected = { root, size, index, issuer: named.origin, subject: named.subject };
        assert.deepEqual(await shown('inclusion', inclusion(index, size), entryOf(index)), expected);
      }
  });

  test('receipts of consistency', async () => {
    for (const [old, size] of [
      [1, 2],
      [3, 4],
      [4, 8],
      [13, 70],
      [64, 70],
    ] as const) {
      const oldRoot = merkleRoot(leaves.slice(0, old));
      const path = consistencyPath(leaves.slice(0, size), old);
      const receipt = receiptOf(size, { kind: 'consistency', old, path }, oldRoot);
      const roots = { oldRoot: toHex(oldRoot), root: toHex(merkleRoot(leaves.slice(0, size))) };
      assert.deepEqual(await shown('consistency', receipt, roots), { old, size });
      assert.equal(await shown('consistency', receipt, { ...roots, oldRoot: toHex(leaves[3] ?? assert.fail()) }), null);
    }
  });

  test('a Transparent Statement, with the receipt in it', async () => {
    const payload = entries[7] ?? assert.fail();
    const content = { issuer: named.origin, subject: 'sha384:00', contentType: 'application/json', payload };
    const signature = sign(null, statementMessage(content, key), privateKey);
    const receipts = [inclusion(7, 70)];
    const statement = encodeStatement({ ...content, keyId, signature, receipts });
    assert.deepEqual(await shown('statement', statement), {
      ...{ root: toHex(merkleRoot(leaves)), size: 70, index: 7, issuer: named.origin, subject: named.subject },
      ...{ type: content.contentType, payload: toHex(payload) },
    });
    const other = encodeStatement({ ...content, keyId, signature, receipts: [inclusion(8, 70)] });
    assert.equal(await shown('statement', other), null);
  });

  test('another entry, and any other byte of what is signed, show nothing', async () => {
    const receipt = inclusion(7, 70);
    assert.equal(await shown('inclusion', receipt, entryOf(8)), null);
    const headers = 4 + treeHeaders({ ...named, size: 70 }, keyId).length;
    for (let at = 0; at < receipt.length; at++) {
      if (at >= headers && at < receipt.length - 64) continue;
      const flipped = Uint8Array.from(receipt);
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      assert.equal(await shown('inclusion', flipped, entryOf(7)), null, `byte ${at}`);
    }
  });

  test('a proof that states another size: RFC 9942 alone takes it, ours compares it with the size under the signature', async () => {
    const receipt = Buffer.from(inclusion(7, 70));
    const at = receipt.indexOf(Buffer.of(0x83, 0x18, 70, 7));
    receipt[at + 2] = 71;
    assert.equal(((await shown('inclusion', receipt, entryOf(7))) as { size: number }).size, 71);
    assert.throws(() => parseCoseReceipt(receipt), DecodeError);
  });
});
