/** A tile that is handed out leads to the checkpoint's root, at every size, and a changed one is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { u64be } from '../src/bytes.ts';
import { EvidenceError } from '../src/errors.ts';
import { leafHash, merkleRoot } from '../src/merkle.ts';
import { type Tile, tileBytes, tilePath, tilesOf, VerifiedTiles } from '../src/tlog/index.ts';

const leaves = Array.from({ length: 66_000 }, (_, i) => leafHash(u64be(BigInt(i))));
const log = (size: number): { size: number; root: Uint8Array } => ({ size, root: merkleRoot(leaves.slice(0, size)) });

/** Bytes of tiles by path, made once. */
const made = new Map<string, Uint8Array>();
function bytesOf(tile: Tile): Uint8Array {
  const path = tilePath(tile);
  const bytes = made.get(path) ?? tileBytes(leaves, tile);
  made.set(path, bytes);
  return bytes;
}

for (const size of [1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537, 66_000]) {
  test(`all tiles of ${size} leaves are as they are, and earlier roots follow`, async () => {
    const tiles = new VerifiedTiles(log(size), async (tile) => bytesOf(tile));
    const some = tilesOf(size).filter(({ index }, i) => index < 2 || i % 97 === 0);
    for (const tile of [...some, ...tilesOf(size).slice(-3)])
      assert.deepEqual(await tiles.tile(Number(tile.level), tile.index), bytesOf(tile), tilePath(tile));
    for (const old of new Set([0, 1, size >> 1, size - 1, size]))
      assert.deepEqual(await tiles.rootAt(old), log(old).root, `${old}`);
    assert.throws(() => tiles.tile(0, Math.ceil(size / 256)), RangeError);
  });
}

test('a hash changed in any tile on the way is refused', async () => {
  const size = 66_000;
  for (const [level, index] of [
    [0, 0],
    [0, 257],
    [1, 0],
    [1, 1],
    [2, 0],
  ] as const) {
    const changed = async (tile: Tile): Promise<Uint8Array> => {
      const bytes = bytesOf(tile).slice();
      if (tile.level === level && tile.index === index) bytes[5] = (bytes[5] ?? 0) ^ 1;
      return bytes;
    };
    const tiles = new VerifiedTiles(log(size), changed);
    const refused = (error: unknown): boolean => error instanceof EvidenceError && error.code === 'log';
    await assert.rejects(tiles.tile(level, index), refused, `${level}/${index}`);
  }
});

test('tiles of another length, and of another tree, are refused', async () => {
  const refused = (error: unknown): boolean => error instanceof EvidenceError && error.code === 'log';
  const short = new VerifiedTiles(log(700), async (tile) => bytesOf(tile).subarray(32));
  await assert.rejects(short.tile(0, 0), refused);
  const other = new VerifiedTiles({ size: 700, root: log(699).root }, async (tile) => bytesOf(tile));
  await assert.rejects(other.tile(0, 0), refused);
  await assert.rejects(other.rootAt(3), refused);
});

test('a tile that could not be read is asked for again', async () => {
  let fails = true;
  const tiles = new VerifiedTiles(log(700), async (tile) => {
    if (fails) throw new Error('not reached');
    return bytesOf(tile);
  });
  await assert.rejects(tiles.tile(0, 2), /not reached/);
  fails = false;
  assert.deepEqual(await tiles.tile(0, 2), bytesOf({ level: 0, index: 2, width: 188 }));
});
