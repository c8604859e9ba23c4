/** Space of the log is used again only below the minimum index, and what is held can still be proved. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equalBytes } from '@enclaim/attestation/bytes';
import { leafHash, rootFromConsistency, rootFromPath } from '@enclaim/attestation/merkle';
import { decodeEntry } from '@enclaim/attestation/record';
import { count } from '../../../test/support/long.ts';
import type { RecordLog } from '../../src/log/record-log.ts';
import { entry, FakeDisk, numbers } from './support.ts';

/** Appends records whose reasons are their indices, in batches. */
async function append(log: RecordLog, count: number, batch = 64): Promise<void> {
  for (let left = count; left > 0; left -= batch) {
    const placed = numbers(Math.min(batch, left), log.size).map((reason) => log.place(entry(reason)));
    await placed.at(-1)?.durable;
  }
}

/** Holds proofs of the oldest, a middle and the newest record against the root of the tree. */
async function holds(log: RecordLog): Promise<void> {
  const { size, root } = log.durable;
  const { minimum } = log;
  for (const index of [minimum, minimum + 1, Math.floor((minimum + size) / 2), size - 1]) {
    const [held] = await log.entries(index, 1);
    assert(held !== undefined);
    assert.equal(decodeEntry(held).reason, `${index}`);
    const path = await log.inclusion(index, size);
    assert(
      equalBytes(rootFromPath(leafHash(held), index, size, path) ?? new Uint8Array(), root),
      `${index} of ${size}`,
    );
    if (index === minimum) continue;
    const old = await log.rootAt(index);
    const proof = await log.consistency(index, size);
    assert(equalBytes(rootFromConsistency(old, index, size, proof) ?? new Uint8Array(), root), `${index} to ${size}`);
  }
  if (minimum > 0) await assert.rejects(log.entries(minimum - 1, 1), RangeError);
}

test('a log that may forget goes round its disk many times, and each boot finds it', async () => {
  const disk = new FakeDisk(1024 * 1024);
  let log = await disk.open();
  const rounds = count(60, 2000, 20);
  for (let round = 0; round < rounds; round++) {
    await append(log, 97 + (round % 5) * 31, 1 + (round % 40));
    const { size } = log.durable;
    log.forget(Math.max(log.minimum, size - 150 - (round % 70)));
    if (round % 3 === 0) await holds(log);
    if (round % 4 === 3) {
      const { root } = log.durable;
      const { minimum } = log;
      log = await disk.open();
      assert.deepEqual(log.began, { size, root });
      assert.equal(log.discarded, false);
      assert(log.minimum <= minimum);
      await holds(log);
    }
  }
  assert(log.durable.size > rounds * 90);
});

test('without being told to, it forgets nothing: it is full', async () => {
  const disk = new FakeDisk(256 * 1024);
  const log = await disk.open();
  await assert.rejects(append(log, 10_000), /the log is full/);
  assert.equal(log.minimum, 0);
  const { size } = log.durable;
  const [first] = await log.entries(0, 1);
  assert.equal(decodeEntry(first ?? new Uint8Array()).reason, '0');
  log.forget(size - 10);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  assert.equal(log.room, 'ample');
  await append(log, 100);
  await holds(await disk.open());
});

test('listeners hear that there is room again', async () => {
  const disk = new FakeDisk(256 * 1024);
  const log = await disk.open();
  const seen: string[] = [];
  log.onRoom((room) => seen.push(room));
  await assert.rejects(append(log, 10_000), /the log is full/);
  log.forget(log.durable.size);
  await append(log, 0);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  assert.deepEqual(seen, ['scarce', 'none', 'ample']);
});

test('space is not used again before a superblock says so, so that a crash leaves a log', async () => {
  const disk = new FakeDisk(256 * 1024);
  const log = await disk.open();
  await append(log, 100);
  const before = disk.copy();
  log.forget(90);
  await append(log, 100);
  // Writes of before the superblock alone: nothing of what was held is gone.
  const old = await before.open();
  assert.equal(old.minimum, 0);
  await holds(old);
  assert.throws(() => log.forget(log.size + 1), RangeError);
  assert.throws(() => log.forget(Number.NaN), RangeError);
});

test('a damaged block gives no space back, and the next that is forgotten does', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  await append(log, 600, 5);
  const { left } = log;
  const { base } = disk.layout.journal;
  disk.bytes.fill(0xff, base + 30_000, base + 31_000);
  for (const below of [100, 300]) {
    log.forget(below);
    await append(log, 1);
    assert.equal(log.minimum, below);
    if (below === 100) assert(log.left < left);
    else assert(log.left > left);
  }
  await holds(log);
});

test('a ring that went round is found without superblocks', async () => {
  const disk = new FakeDisk(256 * 1024);
  const log = await disk.open();
  for (let round = 0; round < 12; round++) {
    await append(log, 50, 7);
    log.forget(log.durable.size - 20);
  }
  const { durable } = log;
  disk.bytes.fill(0, 0, 8192);
  const again = await disk.open();
  assert.deepEqual(again.began, durable);
  assert(again.minimum > 0);
  await holds(again);
  again.forget(again.durable.size - 20);
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  await append(again, 30);
  await holds(await disk.open());
});
