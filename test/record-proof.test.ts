/**
 * No record is taken for one under a quote unless the boot that wrote it, its log key and its
 * hardware all say so; each attack is seen to be the one thing that differs from a proof that holds.
 */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { encodeCheckpointLeaf, encodeNonceLeaf, encodePaddingLeaf } from '@enclaim/attestation/batch';
import { fromBase64Url, utf8 } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { EvidenceError, type EvidenceErrorCode } from '@enclaim/attestation/errors';
import { type Evidence, EvidenceSchema, verifyEvidence } from '@enclaim/attestation/evidence';
import { type LogProof, LogProofSchema } from '@enclaim/attestation/log-service';
import { leafHash, MerkleTree, merkleRoot } from '@enclaim/attestation/merkle';
import { encodeRecordProof, type NamedRecord, verifyRecordProof } from '@enclaim/attestation/record-proof';
import type { BootStatement } from '@enclaim/attestation/statement';
import { canonicalPolicy, parsePolicy } from '@enclaim/policy-schema';
import { makeBootKeys } from '../runtime/src/boot/keys.ts';
import { pretendMachine } from './support/pretend-machine.ts';
import { policyOf } from './support/pretend-server.ts';
import { fc } from './support/properties.ts';
import { type Boot, boot, forged, grow, key, machine, named } from './support/proven-boot.ts';

const check = (proof: LogProof, record: NamedRecord, now = Date.now()) =>
  verifyRecordProof(encodeRecordProof(proof), record, machine.references.anchors, { now });

const refused = (code: EvidenceErrorCode, words: RegExp) => (error: unknown) => {
  assert(error instanceof EvidenceError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, words);
  return true;
};

describe('a proof of a record', () => {
  test('holds for every record of its boot, and says what it rests on', async () => {
    const one = grow(boot({ found: 5 }), 40);
    for (const index of [5, 6, 17, 39]) {
      const proof = await one.checkpoints.proofOf(index);
      const proven = await check(proof, named(index));
      assert.deepEqual(
        [proven.index, proven.checkpoint.size, proven.checkpoint.origin, proven.batch.size],
        [index, 40, one.statement.log.origin, 64],
      );
      const checks = proven.authenticated.checks.filter(({ id }) => ['nonce', 'channel', 'checkpoint'].includes(id));
      assert.deepEqual(
        checks.map(({ id, outcome }) => `${id} ${outcome}`),
        ['nonce not run', 'channel not run', 'checkpoint passed'],
      );
    }
  });

  test('does not hold for another record than the one named', async () => {
    const one = grow(boot(), 9);
    const proof = await one.checkpoints.proofOf(3);
    await check(proof, named(3));
    await assert.rejects(check(proof, named(4)), refused('binding', /proof of record 3, expected 4/));
    await assert.rejects(check(proof, { ...named(4), index: 3 }), refused('log', /record leads to/));
  });

  test('a record of an earlier boot does not count under the quote of this one', async () => {
    // The host can write whatever it likes on the disk while no machine runs: the tree that a boot found is its word.
    const one = grow(boot({ found: 5 }), 9);
    await check(await one.checkpoints.proofOf(5), named(5));
    await assert.rejects(one.checkpoints.proofOf(4), RangeError);
    const root = merkleRoot(one.log.hashes);
    const { text, note } = one.note(9, root);
    const way = (index: number) => new MerkleTree(one.log.hashes).path(index);
    const leaf = encodeCheckpointLeaf(text);
    await check(await forged(one, 5, way(5), note, leaf), named(5));
    const early = await forged(one, 4, way(4), note, leaf);
    await assert.rejects(check(early, named(4)), refused('binding', /there before this boot, which began at 5/));
  });

  test('a record above the checkpoint is not covered by it', async () => {
    const one = grow(boot(), 4);
    const { text, note } = one.note(4, merkleRoot(one.log.hashes));
    const proof = await forged(one, 4, new MerkleTree(one.log.hashes).path(3), note, encodeCheckpointLeaf(text));
    await assert.rejects(check(proof, named(4)), refused('binding', /not below the checkpoint, of 4/));
  });

  test('the checkpoint is the one that the quote covers', async () => {
    const one = grow(boot(), 8);
    const proof = await one.checkpoints.proofOf(7);
    // Another tree with the record in it, signed by the boot's own key: a two-faced log.
    const others = [...one.log.hashes];
    others[0] = leafHash(utf8('what another client is shown'));
    const { note } = one.note(8, merkleRoot(others));
    const path = new MerkleTree(others).path(7);
    const replaced = create(LogProofSchema, { ...proof, path, checkpoint: note });
    await assert.rejects(check(replaced, named(7)), refused('binding', /covers another checkpoint/));
    const control = await forged(one, 7, path, note, encodeCheckpointLeaf(one.note(8, merkleRoot(others)).text));
    await check(control, named(7));
  });

  test('the note is signed by the log key of the statement, under its origin', async () => {
    const one = grow(boot(), 8);
    const root = merkleRoot(one.log.hashes);
    const path = new MerkleTree(one.log.hashes).path(2);
    const by = async (options: Parameters<Boot['note']>[2]) => {
      const { text, note } = one.note(8, root, options);
      return forged(one, 2, path, note, encodeCheckpointLeaf(text));
    };
    await check(await by({}), named(2));
    const stranger = makeBootKeys();
    await assert.rejects(
      check(await by({ by: stranger }), named(2)),
      refused('signature', /not signed by the log key/),
    );
    await assert.rejects(check(await by({ origin: 'pretend/other' }), named(2)), refused('signature', /not signed/));
    const proof = await by({});
    const swapped = proof.checkpoint.replace(
      /\n\n.*$/s,
      one.note(8, sha256(utf8('other'))).note.match(/\n\n.*$/s)?.[0] ?? '',
    );
    await assert.rejects(check({ ...proof, checkpoint: swapped }, named(2)), refused('signature', /does not verify/));
  });

  test('a path has the one length that index and size have, and leads to the root', async () => {
    const one = grow(boot(), 21);
    const proof = await one.checkpoints.proofOf(11);
    for (const path of [
      proof.path.slice(1),
      proof.path.slice(0, -1),
      [...proof.path, sha256(utf8('x'))],
      [],
      Array.from({ length: 54 }, () => sha256(utf8('x'))),
      proof.path.map((hash, i) => (i === 0 ? hash.subarray(1) : hash)),
    ]) {
      await assert.rejects(check({ ...proof, path }, named(11)), refused('log', /a path of \d+ hashes/));
    }
    const turned = proof.path.toReversed();
    await assert.rejects(check({ ...proof, path: turned }, named(11)), refused('log', /record leads to/));
  });

  test('no leaf of another type stands for a checkpoint, and no checkpoint for a nonce', async () => {
    const one = grow(boot(), 8);
    const root = merkleRoot(one.log.hashes);
    const { text, note } = one.note(8, root);
    const path = new MerkleTree(one.log.hashes).path(2);
    const spki = fromBase64Url(Buffer.from(one.statement.keys.tls.slice(7), 'hex').toString('base64url'));
    const nonce = encodeNonceLeaf({ nonce: sha256(utf8(text)), spki, exporter: null });
    const padding = encodePaddingLeaf(sha256(utf8(text)));
    for (const leaf of [nonce, padding])
      await assert.rejects(
        check(await forged(one, 2, path, note, leaf), named(2)),
        refused('format', /leaf type \d where a checkpoint is expected/),
      );
    const context = { now: Date.now(), channel: 'offline', activation: null } as const;
    const bytesOf = async (leaf: Uint8Array) => {
      const { toBinary } = await import('@bufbuild/protobuf');
      return toBinary(EvidenceSchema, one.evidenceOf(await one.batcher.add(leaf)));
    };
    await verifyEvidence(await bytesOf(nonce), machine.references.anchors, context);
    await assert.rejects(
      verifyEvidence(await bytesOf(encodeCheckpointLeaf(text)), machine.references.anchors, context),
      refused('format', /leaf type 2 where a nonce is expected/),
    );
    await assert.rejects(
      verifyEvidence(await bytesOf(padding), machine.references.anchors, context),
      refused('format', /leaf type 3 where a nonce is expected/),
    );
  });

  test('the quote is of the boot and policy that the proof states', async () => {
    const [one, two] = [grow(boot(), 8), grow(boot(), 8)];
    const [mine, theirs] = [await one.checkpoints.proofOf(2), await two.checkpoints.proofOf(2)];
    await check(mine, named(2));
    await check(theirs, named(2));
    // The other boot's quote over its own checkpoint, beside this boot's statement.
    const mixed = { ...(mine.evidence ?? assert.fail()), hardware: theirs.evidence?.hardware } as Evidence;
    await assert.rejects(check({ ...mine, evidence: mixed }, named(2)), EvidenceError);
    const statement = { ...(theirs.evidence ?? assert.fail()), statement: mine.evidence?.statement } as Evidence;
    await assert.rejects(
      check({ ...theirs, evidence: statement }, named(2)),
      refused('signature', /not signed by the log key/),
    );
    const whole = { ...mine, evidence: theirs.evidence } as LogProof;
    await assert.rejects(check(whole, named(2)), refused('signature', /not signed by the log key/));
    const weaker = canonicalPolicy(parsePolicy(policyOf().replace('version: 1', 'version: 2')));
    const policy = { ...(mine.evidence ?? assert.fail()), policy: weaker } as Evidence;
    await assert.rejects(check({ ...mine, evidence: policy }, named(2)), refused('binding', /policy is/));
    const other = grow(boot({ on: pretendMachine(key, weaker), policy: weaker }), 8);
    // Authentic, and of a policy that the references do not expect: appraisal names it.
    const proven = await check(await other.checkpoints.proofOf(2), named(2));
    assert.notEqual(proven.authenticated.statement.policy, machine.references.policy);
  });

  test('a boot of an older statement has no log key, and proves no record', async () => {
    const { log: _, ...keys } = makeBootKeys();
    const former = machine.statementOf({ ...keys, log: `ed25519:${'A'.repeat(43)}` });
    const { log: _log, ...two } = former.keys as { tls: `sha256:${string}`; receipt: `ed25519:${string}`; log: string };
    const log = { origin: former.log.origin, size: 0, head: digestText('sha256', sha256(utf8(''))) };
    const one = grow(boot({ other: { version: 2, keys: two, log } as Partial<BootStatement> }), 4);
    const proof = await one.checkpoints.proofOf(2);
    await assert.rejects(check(proof, named(2)), refused('binding', /states version 2/));
  });

  test('what is not a proof ends in an error of its stage, whatever its bytes', async () => {
    const { anchors } = machine.references;
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 600 }), async (bytes) => {
        await assert.rejects(verifyRecordProof(bytes, named(0), anchors, { now: 0 }), EvidenceError);
      }),
      { numRuns: 500 },
    );
  });

  test('a single bit anywhere in a proof is seen', async () => {
    const one = grow(boot({ found: 3 }), 60);
    const bytes = encodeRecordProof(await one.checkpoints.proofOf(31));
    const { anchors } = machine.references;
    const now = Date.now();
    await verifyRecordProof(bytes, named(31), anchors, { now });
    let tried = 0;
    const bit = fc.tuple(fc.nat(bytes.length - 1), fc.nat(7));
    await fc.assert(
      fc.asyncProperty(bit, async ([at, place]) => {
        const changed = Uint8Array.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ (1 << place);
        await assert.rejects(verifyRecordProof(changed, named(31), anchors, { now }), EvidenceError, `byte ${at}`);
        tried++;
      }),
      { numRuns: 1000 },
    );
    assert.ok(tried >= 10);
  });
});
