/** Of a log that forgot, the tiles of what is held lead to the root: the edge is given, whatever is forgotten. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leafHash } from '@enclaim/attestation/merkle';
import { hashesOf, VerifiedTiles } from '@enclaim/attestation/tlog';
import type { RecordLog } from '../../src/log/record-log.ts';
import { entry, FakeDisk, numbers } from './support.ts';

/** Holds all entries that are held against tiles that lead to the root. */
async function leads(log: RecordLog): Promise<void> {
  const { minimum, durable } = log;
  const tiles = new VerifiedTiles(durable, (tile) => log.tile(tile));
  for (let first = minimum; first < durable.size; ) {
    const tile = Math.floor(first / 256);
    const end = Math.min(durable.size, (tile + 1) * 256);
    const hashes = hashesOf(await tiles.tile(0, tile));
    const entries = await log.entries(first, end - first);
    for (const [i, data] of entries.entries())
      assert.deepEqual(Buffer.from(hashes[(first + i) % 256] ?? []), Buffer.from(leafHash(data)), `${first + i}`);
    first = end;
  }
}

test('entries lead to the root at every size, before and after a boot', async () => {
  const disk = new FakeDisk(2 * 1024 * 1024);
  let log = await disk.open();
  for (const [size, below] of [
    [256, 256],
    [300, 256],
    [512, 300],
    [515, 512],
    [768, 600],
    [1100, 1024],
    [1300, 1299],
  ] as const) {
    const placed = numbers(size - log.size, log.size).map((reason) => log.place(entry(reason)));
    await Promise.all(placed.map(({ durable }) => durable));
    log.forget(below);
    await leads(log);
    log = await disk.open();
    await leads(log);
  }
});
