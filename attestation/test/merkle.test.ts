/** Merkle trees, held against RFC 6962's own definition and against every wrong path. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fc } from '../../test/support/properties.ts';
import { utf8 } from '../src/bytes.ts';
import { sha256 } from '../src/digest.ts';
import { leafHash, MerkleTree, merkleRoot, nodeHash, rootFromPath } from '../src/merkle.ts';

const leaves = (count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => leafHash(utf8(`leaf ${i}`)));

test('roots are what the definition says', () => {
  const [a, b, c] = leaves(3) as [Uint8Array, Uint8Array, Uint8Array];
  assert.deepEqual(merkleRoot([]), sha256(new Uint8Array()));
  assert.deepEqual(merkleRoot([a]), a);
  assert.deepEqual(merkleRoot([a, b, c]), nodeHash(nodeHash(a, b), c));
});

/** MTH of RFC 6962 section 2.1, as it is written there. */
function byDefinition(all: readonly Uint8Array[]): Uint8Array {
  const [only] = all;
  if (all.length === 1 && only !== undefined) return only;
  const k = 2 ** Math.ceil(Math.log2(all.length) - 1);
  return nodeHash(byDefinition(all.slice(0, k)), byDefinition(all.slice(k)));
}

test('every leaf of every tree up to 70 leads to the root, and under no other index or size of its own path', () => {
  for (let size = 1; size <= 70; size++) {
    const all = leaves(size);
    const tree = new MerkleTree(all);
    const { root } = tree;
    assert.deepEqual(root, byDefinition(all));
    for (const [index, leaf] of all.entries()) {
      const path = tree.path(index);
      assert.deepEqual(rootFromPath(leaf, index, size, path), root);
      assert.notDeepEqual(rootFromPath(leaf, (index + 1) % size, size, path), size === 1 ? undefined : root);
      assert.equal(rootFromPath(leaf, index, size, [...path, leaf]), undefined, 'a longer path');
      if (path.length > 0) assert.equal(rootFromPath(leaf, index, size, path.slice(1)), undefined, 'a shorter path');
    }
  }
});

test('a path is total: any numbers and any siblings end in a root or in nothing', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer(),
      fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 70 }),
      (index, size, path) => {
        const root = rootFromPath(leafHash(utf8('x')), index, size, path);
        if (index < 0 || index >= size || path.some((sibling) => sibling.length !== 32)) assert.equal(root, undefined);
      },
    ),
    { numRuns: 2000 },
  );
});
