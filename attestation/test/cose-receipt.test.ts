/** A COSE receipt verifies as it was signed, in one form, and no other bytes do. */

import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { refused, undecodable } from '../../test/support/refused.ts';
import { concat, utf8 } from '../src/bytes.ts';
import { type CborMap, decodeCbor, encodeCbor, isTagged } from '../src/cbor/index.ts';
import { sha256 } from '../src/digest.ts';
import { DecodeError, EvidenceError } from '../src/errors.ts';
import { consistencyPath, inclusionPath, leafHash, merkleRoot } from '../src/merkle.ts';
import {
  type CoseReceipt,
  encodeCoseReceipt,
  keyThumbprint,
  parseCoseReceipt,
  treeMessage,
  verifyCoseReceipt,
} from '../src/scitt/index.ts';
import { ed25519Key } from '../src/statement.ts';
import { formatCheckpoint, formatNote, noteKey, signatureLine, verifyNote } from '../src/tlog/index.ts';

const pair = generateKeyPairSync('ed25519');
const raw = createPublicKey(pair.privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
const key = ed25519Key(raw);
const leaves = Array.from({ length: 21 }, (_, i) => leafHash(utf8(`entry ${i}`)));
const tree = { origin: 'lab/0123', subject: 'enclaim/record/v2', size: leaves.length };
const root = merkleRoot(leaves);
const signature = new Uint8Array(sign(null, treeMessage(tree, root, key), pair.privateKey));
const common = { tree, keyId: keyThumbprint(key), signature };
const known = (index: number): Uint8Array => leaves[index] ?? assert.fail();

function inclusion(index: number, evidence: Uint8Array | null = utf8('evidence')): CoseReceipt {
  const companion = evidence && { known: known(index), evidence };
  return { ...common, proof: { kind: 'inclusion', index, path: inclusionPath(leaves, index) }, companion };
}
function consistency(old: number): CoseReceipt {
  const companion = { known: merkleRoot(leaves.slice(0, old)), evidence: utf8('evidence') };
  return { ...common, proof: { kind: 'consistency', old, path: consistencyPath(leaves, old) }, companion };
}

/** Whether bytes are a receipt that verifies from what it names itself. Errors other than ours are a fault. */
async function verifies(bytes: Uint8Array): Promise<boolean> {
  try {
    const receipt = parseCoseReceipt(bytes);
    await verifyCoseReceipt(receipt, key, receipt.companion?.known ?? known(7));
    return true;
  } catch (error) {
    if (error instanceof DecodeError || error instanceof EvidenceError) return false;
    throw error;
  }
}

describe('COSE receipts', () => {
  test('every leaf, and every older tree, leads to the root that was signed', async () => {
    for (const index of leaves.keys()) {
      const receipt = parseCoseReceipt(encodeCoseReceipt(inclusion(index)));
      assert.deepEqual(receipt, inclusion(index));
      assert.deepEqual(await verifyCoseReceipt(receipt, key, known(index)), root);
      if (index === 0) continue;
      const grown = parseCoseReceipt(encodeCoseReceipt(consistency(index)));
      assert.deepEqual(await verifyCoseReceipt(grown, key, merkleRoot(leaves.slice(0, index))), root);
    }
  });

  test('the thumbprint is that of RFC 9679', () => {
    assert.deepEqual(keyThumbprint(key), sha256(Buffer.concat([Buffer.from('a301012006215820', 'hex'), raw])));
  });

  test('what it starts from, the key and the tree are held against it', async () => {
    const receipt = inclusion(7);
    await refused('log', () =>
      verifyCoseReceipt({ ...receipt, proof: { kind: 'inclusion', index: 21, path: [] } }, key, known(7)),
    );
    await refused('signature', () => verifyCoseReceipt(receipt, key, known(8)));
    await refused('log', () => verifyCoseReceipt(consistency(9), key, known(8)));
    const other = ed25519Key(
      generateKeyPairSync('ed25519').publicKey.export({ format: 'der', type: 'spki' }).subarray(-32),
    );
    await refused('binding', () => verifyCoseReceipt(receipt, other, known(7)));
    await refused('signature', () =>
      verifyCoseReceipt({ ...receipt, tree: { ...tree, origin: 'lab/4567' } }, key, known(7)),
    );
    await refused('signature', () =>
      verifyCoseReceipt({ ...receipt, tree: { ...tree, subject: 'another' } }, key, known(7)),
    );
  });
});

describe('hostile bytes', () => {
  const whole = encodeCoseReceipt(inclusion(7, null));

  test('no receipt with another byte verifies, in either kind', async () => {
    assert.ok(await verifies(whole));
    for (const bytes of [whole, encodeCoseReceipt(consistency(9))]) {
      const evidence = Buffer.from(bytes).indexOf('evidence', Buffer.from(bytes).indexOf('evidence') + 1);
      for (let at = 0; at < bytes.length; at++) {
        // The evidence beside the proof is verified by its reader.
        if (evidence > 0 && at >= evidence && at < evidence + 8) continue;
        for (const mask of [1 << (at % 8), 0xff]) {
          const flipped = Uint8Array.from(bytes);
          flipped[at] = (flipped[at] ?? 0) ^ mask;
          assert.equal(await verifies(flipped), false, `byte ${at}, mask ${mask}`);
        }
      }
    }
  });

  test('none that is cut or goes on verifies', async () => {
    for (let length = 0; length < whole.length; length++)
      assert.equal(await verifies(whole.subarray(0, length)), false);
    assert.equal(await verifies(concat(whole, Uint8Array.of(0))), false);
  });

  test('any bytes end in an error of ours', async () => {
    const mutant = fc.tuple(fc.nat(whole.length - 1), fc.uint8Array({ maxLength: 12 }), fc.nat(12));
    await fc.assert(
      fc.asyncProperty(fc.array(mutant, { minLength: 1, maxLength: 4 }), async (mutants) => {
        let bytes = whole;
        for (const [at, put, cut] of mutants) bytes = concat(bytes.subarray(0, at), put, bytes.subarray(at + cut));
        assert.equal(await verifies(bytes), Buffer.from(bytes).equals(whole));
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => assert.ok(!(await verifies(bytes)))),
    );
  });

  type Parts = [
    protectedBytes: Uint8Array,
    unprotectedHeaders: CborMap,
    payload: Uint8Array | null,
    signature: Uint8Array,
  ];
  function parts(): Parts {
    const decoded = decodeCbor(whole);
    return isTagged(decoded) ? (structuredClone(decoded.value) as Parts) : assert.fail();
  }
  const proof = (items: readonly unknown[], label = -1): CborMap =>
    new Map([[396, new Map([[label, [encodeCbor(items as never)]]])]]);
  const path = inclusionPath(leaves, 7);
  const headers = (...more: [number | string, unknown][]): Uint8Array =>
    encodeCbor(new Map([...(decodeCbor(parts()[0]) as CborMap), ...more]) as never);

  const FORMS: Readonly<Record<string, () => unknown>> = {
    'no tag': () => parts(),
    'another tag': () => ({ tag: 98, value: parts() }),
    'an attached root': () => sign1(([first, second, , last]) => [first, second, root, last]),
    'five parts': () => sign1((all) => [...all, 0]),
    'another size in the proof than is signed': () =>
      sign1(([first, , none, last]) => [first, proof([20, 7, path]), none, last]),
    'an index that is no number': () => sign1(([first, , none, last]) => [first, proof([21, '7', path]), none, last]),
    'a path of numbers': () => sign1(([first, , none, last]) => [first, proof([21, 7, [1, 2]]), none, last]),
    'a path beyond any tree': () =>
      sign1(([first, , none, last]) => [first, proof([21, 7, Array.from({ length: 107 }, () => root)]), none, last]),
    'a proof of another kind': () => sign1(([first, , none, last]) => [first, proof([21, 7, path], -3), none, last]),
    'two proofs': () =>
      sign1(([first, second, none, last]) => [first, new Map([[396, new Map([[-1, twice(second)]])]]), none, last]),
    'no proof': () => sign1(([first, , none, last]) => [first, new Map(), none, last]),
    'a header more, unprotected': () =>
      sign1(([first, second, none, last]) => [first, new Map<unknown, unknown>([...second, [4, root]]), none, last]),
    'a header more, protected': () => sign1(([, second, none, last]) => [headers([99, 1]), second, none, last]),
    'a critical header': () => sign1(([, second, none, last]) => [headers([2, [395]]), second, none, last]),
    'another algorithm': () => sign1(([, second, none, last]) => [headers([1, -7]), second, none, last]),
    'another structure': () => sign1(([, second, none, last]) => [headers([395, 2]), second, none, last]),
    'no algorithm': () => sign1(([, second, none, last]) => [new Uint8Array(), second, none, last]),
    'a signature that is a text': () => sign1(([first, second, none]) => [first, second, none, 'signature']),
  };
  const sign1 = (change: (all: Parts) => readonly unknown[]): unknown => ({ tag: 18, value: change(parts()) });
  const twice = (second: CborMap): unknown[] => {
    const [one] = ((second.get(396) as CborMap).get(-1) ?? []) as unknown[];
    return [one, one];
  };
  for (const [name, make] of Object.entries(FORMS)) {
    test(`${name} is refused as a form`, () =>
      assert.throws(() => parseCoseReceipt(encodeCbor(make() as never)), DecodeError));
  }

  test('keys twice, open lengths and longer forms are refused', () => {
    const text = Buffer.from(whole).toString('hex');
    const at = (from: string, to: string): Uint8Array => {
      assert.ok(text.includes(from), from);
      return Buffer.from(text.replace(from, to), 'hex');
    };
    undecodable('canonical', () => parseCoseReceipt(at('d284', 'd29f')));
    undecodable('canonical', () => parseCoseReceipt(at('d284', 'd81284')));
    undecodable('canonical', () => parseCoseReceipt(at('a119018c', 'bf19018c')));
    undecodable('syntax', () => parseCoseReceipt(at('a119018ca1', `a219018ca019018ca1`)));
    undecodable('range', () => parseCoseReceipt(new Uint8Array(2 * 1024 * 1024)));
  });
});

/**
 * The log key signs notes and trees. Attack: a signature of one is shown as one of the other. It would need a tree whose
 * structure is a text, or a text whose bytes are a structure.
 */
describe('two uses of one key', () => {
  const name = noteKey(tree.origin, 'ed25519', raw);
  const text = formatCheckpoint({ ...tree, root, extensions: [] });

  test('a signature of a note is none of a receipt, nor the other way round', async () => {
    const ofNote = new Uint8Array(sign(null, utf8(text), pair.privateKey));
    await verifyNote(formatNote(text, [signatureLine(name, ofNote)]), [name]);
    await refused('signature', () => verifyNote(formatNote(text, [signatureLine(name, signature)]), [name]));
    await refused('signature', () => verifyCoseReceipt({ ...inclusion(7), signature: ofNote }, key, known(7)));
  });

  test('no text of a checkpoint is a structure, whatever the origin', () => {
    const units = (codes: readonly number[]): string => String.fromCharCode(...codes);
    const start = Buffer.from(treeMessage(tree, root, key))
      .subarray(0, 12)
      .toString('latin1');
    fc.assert(
      fc.property(fc.oneof(fc.array(fc.nat(0xffff)).map(units), fc.constant(start)), (origin) => {
        const bytes = utf8(formatCheckpoint({ origin, size: 1, root, extensions: [] }));
        assert.notEqual(bytes[0], treeMessage({ ...tree, origin }, root, key)[0]);
      }),
    );
    // In an encoding with a byte for each character, the origin would be the beginning of a structure.
    assert.equal(Buffer.from(start, 'latin1')[0], treeMessage(tree, root, key)[0]);
  });
});
