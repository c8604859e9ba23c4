/** Transparency logs: proofs of random trees, notes, checkpoints and tiles, and what must not pass. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { FakeIdentity } from '../../test/fakes/certificates.ts';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { refused, undecodable } from '../../test/support/refused.ts';
import { utf8 } from '../src/bytes.ts';
import { DecodeError } from '../src/errors.ts';
import {
  consistencyPath,
  inclusionPath,
  isSubtree,
  leafHash,
  merkleRoot,
  rootFromConsistency,
  rootFromPath,
} from '../src/merkle.ts';
import {
  cosignedText,
  encodeEntries,
  entryBundle,
  formatCheckpoint,
  formatLogProof,
  formatNote,
  formatNoteKey,
  isNoteName,
  noteKey,
  parseCheckpoint,
  parseEntries,
  parseLogProof,
  parseNote,
  parseNoteKey,
  parseTilePath,
  signatureLine,
  TileTree,
  tileBytes,
  tilePath,
  tilesOf,
  verifyLogProof,
  verifyNote,
} from '../src/tlog/index.ts';

const leavesOf = (size: number): Uint8Array[] => Array.from({ length: size }, (_, i) => leafHash(utf8(`leaf ${i}`)));
const log = new FakeIdentity('log', 'ed25519');
const witness = new FakeIdentity('witness', 'ed25519');
const logKey = noteKey('example.com/log', 'ed25519', Uint8Array.from(log.spki.subarray(-32)));
const witnessKey = noteKey('example.com/w', 'cosignature/v1', Uint8Array.from(witness.spki.subarray(-32)));

function signed(text: string, by: FakeIdentity = log): string {
  return formatNote(text, [signatureLine(logKey, sign(null, utf8(text), by.privateKey))]);
}

describe('Merkle proofs', () => {
  const sizes = fc.integer({ min: 1, max: 80 }).chain((size) => fc.tuple(fc.constant(size), fc.nat(size - 1)));

  test('every leaf is included, and no other in its place', () => {
    fc.assert(
      fc.property(sizes, fc.nat(79), ([size, index], other) => {
        const leaves = leavesOf(size);
        const root = merkleRoot(leaves);
        const path = inclusionPath(leaves, index);
        assert.deepEqual(rootFromPath(leaves[index] ?? root, index, size, path), root);
        if (other !== index) assert.notDeepEqual(rootFromPath(leaves[index] ?? root, other, size, path), root);
        assert.notDeepEqual(rootFromPath(leaves[index] ?? root, index, size, [...path, root]), root);
        if (path.length > 0) assert.notDeepEqual(rootFromPath(leaves[index] ?? root, index, size, path.slice(1)), root);
      }),
      { numRuns: count(500, 500, 100) },
    );
  });

  test('every earlier tree and every subtree is part of a later one, and of no other', () => {
    fc.assert(
      fc.property(sizes, fc.nat(79), ([size, last], from) => {
        const leaves = leavesOf(size);
        const [start, end] = [from, last + 1];
        if (!isSubtree(start, end)) return;
        const known = merkleRoot(leaves.slice(start, end));
        const path = consistencyPath(leaves, end, start);
        assert.deepEqual(rootFromConsistency(known, end, size, path, start), merkleRoot(leaves));
        const lie = leafHash(known);
        assert.notDeepEqual(rootFromConsistency(lie, end, size, path, start), merkleRoot(leaves));
        assert.equal(rootFromConsistency(known, end, size, [...path, lie], start), undefined);
        if (path.length > 0)
          assert.notDeepEqual(rootFromConsistency(known, end, size, path.slice(1), start), merkleRoot(leaves));
      }),
      { numRuns: count(1000, 1000, 100) },
    );
  });
});

describe('tiles', () => {
  test('a tree read by its tiles is the tree of its leaves', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1500 }), fc.nat(), async (size, pick) => {
        const leaves = leavesOf(size);
        const tiles = new Map(tilesOf(size).map((tile) => [tilePath(tile), tileBytes(leaves, tile)]));
        const tree = new TileTree(size, async (tile) => tiles.get(tilePath(tile)) ?? new Uint8Array());
        const index = pick % size;
        assert.deepEqual(await tree.root(), merkleRoot(leaves));
        assert.deepEqual(await tree.inclusion(index), inclusionPath(leaves, index));
        assert.deepEqual(await tree.consistency(index + 1), consistencyPath(leaves, index + 1));
      }),
      { numRuns: 12 },
    );
  });

  test('refuses a tile of another length', async () => {
    await assert.rejects(() => new TileTree(5, async () => new Uint8Array(128)).root(), DecodeError);
  });

  test('paths lead both ways, and one tile has one path', () => {
    fc.assert(
      fc.property(fc.nat(63), fc.nat({ max: 2 ** 45 }), fc.integer({ min: 1, max: 256 }), (level, index, width) => {
        const tile = { level, index, width };
        assert.deepEqual(parseTilePath(tilePath(tile)), tile);
      }),
    );
    assert.equal(parseTilePath('tile/63/000').level, 63);
    for (const path of [
      'tile/64/000',
      'tile/99/000',
      'tile/100/000',
      'tile/255/000',
      'tile/0/x000/001',
      'tile/0/000.p/0',
      'tile/0/000.p/256',
      'tile/00/000',
      'tile/0/x001/x002',
      'tile/0/1',
      'tile/0/000/',
      '../tile/0/000',
    ]) {
      assert.throws(() => parseTilePath(path), DecodeError, path);
    }
    assert.equal(tilePath(entryBundle(256, 300)), 'tile/entries/001.p/44');
  });

  test('bundles give their entries back', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), (entries) => {
        assert.deepEqual(
          parseEntries(encodeEntries(entries)).map((one) => Uint8Array.from(one)),
          entries,
        );
      }),
    );
    undecodable('truncated', () => parseEntries(Uint8Array.of(0, 2, 1)));
    undecodable('range', () => parseEntries(new Uint8Array(2 * 257)));
    undecodable('range', () => encodeEntries([new Uint8Array(65_536)]));
  });
});

describe('notes', () => {
  const text = 'one\ntwo\n';

  test('keys go both ways', () => {
    for (const key of [logKey, witnessKey]) assert.deepEqual(parseNoteKey(formatNoteKey(key)), key);
    const good = formatNoteKey(logKey);
    undecodable('canonical', () => parseNoteKey(good.replace(logKey.id, '00000000')));
    undecodable('syntax', () => parseNoteKey(good.replace(logKey.name, 'a b')));
  });

  test('names have no white space of Unicode, and that is all that they lack', () => {
    const key = (name: string): string => formatNoteKey(noteKey(name, 'ed25519', logKey.publicKey));
    for (const space of ['\u0020', '\u0085', '\u00a0', '\u2028', '\u3000', '\u1680', '\u202f']) {
      undecodable('syntax', () => parseNoteKey(key(`log${space}2`)));
      undecodable('syntax', () => parseNote(`${text}\n— log${space}2 ${'A'.repeat(12)}\n`));
      assert.equal(isNoteName(`log${space}2`), false, 'nor is a key made under one');
    }
    for (const name of ['log\ufeff2', 'log\u200b2', 'log\u180e2', 'lög']) {
      assert.equal(parseNoteKey(key(name)).name, name);
      assert.equal(parseNote(`${text}\n— ${name} ${'A'.repeat(12)}\n`).signatures[0]?.name, name);
    }
  });

  test('a cosignature tells its time, and only under the key for one', async () => {
    const cosignature = sign(null, utf8(cosignedText(text, 1_800_000_000n)), witness.privateKey);
    const note = `${signed(text)}${signatureLine(witnessKey, cosignature, 1_800_000_000n)}`;
    const { verified } = await verifyNote(note, [logKey, witnessKey]);
    assert.deepEqual(
      verified.map(({ key, timestamp }) => [key.name, timestamp]),
      [
        ['example.com/log', undefined],
        ['example.com/w', 1_800_000_000n],
      ],
    );
    const moved = `${signed(text)}${signatureLine(witnessKey, cosignature, 1_800_000_001n)}`;
    await refused('signature', () => verifyNote(moved, [logKey, witnessKey]));
  });

  test('refuses who did not sign, and whoever is given twice', async () => {
    await refused('signature', () => verifyNote(signed(text, witness), [logKey]));
    await refused('chain', () => verifyNote(signed(text), [witnessKey]));
    await refused('chain', () => verifyNote(signed(text), []));
    await refused('key', () => verifyNote(signed(text), [logKey, { ...logKey }]));
    await refused('signature', () => verifyNote(signed(text).replace('one', 'ONE'), [logKey]));
  });

  test('is total', () => {
    const good = signed(text);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), fc.nat(good.length), (noise, at) => {
        for (const parse of [parseNote, parseNoteKey, parseCheckpoint, parseLogProof, parseTilePath]) {
          try {
            parse(good.slice(0, at) + noise + good.slice(at));
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }
      }),
      { numRuns: count(2000, 2000, 200) },
    );
  });
});

describe('proofs as files', () => {
  const entries = Array.from({ length: 21 }, (_, i) => utf8(`entry ${i}`));
  const leaves = entries.map(leafHash);
  const checkpoint = { origin: 'example.com/log', size: 21, root: merkleRoot(leaves), extensions: [] };
  const proof = (index: number, note = signed(formatCheckpoint(checkpoint))): string =>
    formatLogProof({ index, path: inclusionPath(leaves, index), checkpoint: note });

  test('an entry is shown to be in the log', async () => {
    for (const [index, entry] of entries.entries()) {
      const found = await verifyLogProof(proof(index), entry, [logKey]);
      assert.deepEqual(found.checkpoint, checkpoint);
    }
  });

  test('refuses another entry, another index, another root, another key', async () => {
    await refused('log', () => verifyLogProof(proof(3), utf8('entry 4'), [logKey]));
    await refused('log', () => verifyLogProof(proof(3).replace('index 3', 'index 4'), utf8('entry 3'), [logKey]));
    const lie = signed(formatCheckpoint({ ...checkpoint, root: leafHash(utf8('lie')) }));
    await refused('log', () => verifyLogProof(proof(3, lie), utf8('entry 3'), [logKey]));
    await refused('chain', () => verifyLogProof(proof(3), utf8('entry 3'), [witnessKey]));
  });
});

describe('checkpoints', () => {
  test('an empty tree has one root', () => {
    const empty = { origin: 'o', size: 0, root: merkleRoot([]), extensions: [] };
    assert.deepEqual(parseCheckpoint(formatCheckpoint(empty)), empty);
    undecodable('canonical', () => parseCheckpoint(formatCheckpoint({ ...empty, root: new Uint8Array(32) })));
  });

  test('sizes are whole up to 2^53 - 1, and none above is one of them', () => {
    for (const size of [1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1]) {
      const checkpoint = { origin: 'o', size, root: new Uint8Array(32), extensions: [] };
      assert.deepEqual(parseCheckpoint(formatCheckpoint(checkpoint)), checkpoint);
    }
    const of = (size: string): string => `o\n${size}\n${Buffer.alloc(32).toString('base64')}\n`;
    for (const size of ['9007199254740992', '18446744073709551615', '1e3', '4294967296.0', '0x10', '9'.repeat(1000)]) {
      assert.throws(() => parseCheckpoint(of(size)), DecodeError, size);
    }
  });

  test('proofs hold beyond 2^32 leaves', () => {
    // Left of leaf 2^40 stands one complete subtree.
    const [left, leaf] = [leafHash(utf8('left')), leafHash(utf8('leaf'))];
    const root = rootFromPath(leaf, 2 ** 40, 2 ** 40 + 1, [left]);
    assert.deepEqual(rootFromConsistency(left, 2 ** 40, 2 ** 40 + 1, [leaf]), root);
    assert.notDeepEqual(rootFromConsistency(leaf, 2 ** 40, 2 ** 40 + 1, [left]), root);
    assert.equal(rootFromPath(leaf, 2 ** 32, 2 ** 40 + 1, [left]), undefined);
  });

  test('one text for one checkpoint', () => {
    const checkpoint = { origin: 'o', size: 7, root: new Uint8Array(32), extensions: ['more'] };
    assert.deepEqual(parseCheckpoint(formatCheckpoint(checkpoint)), checkpoint);
    const good = formatCheckpoint({ ...checkpoint, extensions: [] });
    for (const bad of [
      good.replace('7', '07'),
      good.replace('7', '+7'),
      good.replace('7', '-7'),
      good.replace('7', '9007199254740993'),
      `\n${good}`,
      `${good}\n`,
      good.slice(0, -1),
      good.replace('A', ' A'),
      good.replaceAll('\n', '\r\n'),
      good.replace('=', ''),
    ]) {
      assert.throws(() => parseCheckpoint(bad), DecodeError, JSON.stringify(bad));
    }
  });
});
