/** The record log: durable before acknowledged, one tree, and what a crash leaves behind. */

import assert from 'node:assert/strict';
import { constants, statSync } from 'node:fs';
import { type FileHandle, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { toHex, utf8 } from '@enclaim/attestation/bytes';
import { inclusionPath, leafHash, merkleRoot, rootFromConsistency } from '@enclaim/attestation/merkle';
import { decodeEntry, recordHash } from '@enclaim/attestation/record';
import { encodeEntries, tileBytes, tilesOf } from '@enclaim/attestation/tlog';
import { RefusalError } from '../../src/errors.ts';
import { openDevice } from '../../src/log/device.ts';
import { type Entry, RecordLog } from '../../src/log/record-log.ts';
import { CAPACITY, diskOf, entry, FakeDisk, numbers } from './support.ts';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-log-'));
});
after(() => rm(folder, { recursive: true }));

/** Reasons of the records that a log holds. */
async function reasonsOf(log: RecordLog): Promise<string[]> {
  const { size } = log.durable;
  const entries = size === log.minimum ? [] : await log.entries(log.minimum, size - log.minimum);
  return entries.map((each) => decodeEntry(each).reason);
}

const refusedByLog = (error: unknown): boolean => error instanceof RefusalError && error.code === 'log';

test('records are leaves of one tree, and a restart continues it', async () => {
  const disk = await diskOf(['a', 'b', 'c']);
  const log = await disk.open();
  assert.equal(log.began.size, 3);
  const placed = log.place(entry('d'));
  assert.equal(placed.index, 3);
  await placed.durable;
  assert.deepEqual(await reasonsOf(log), ['a', 'b', 'c', 'd']);
  const leaves = (await log.entries(0, 4)).map(leafHash);
  assert.equal(placed.hash, `sha256:${toHex(leaves[3] ?? assert.fail())}`);
  assert.deepEqual(log.durable, { size: 4, root: merkleRoot(leaves) });
  assert.deepEqual((await disk.open()).began, log.durable);
});

test('an empty disk is an empty tree', async () => {
  const log = await new FakeDisk().open();
  assert.deepEqual(log.began, { size: 0, root: merkleRoot([]) });
  assert.equal(log.discarded, false);
  assert.equal(log.newest, null);
  await assert.rejects(log.entries(0, 1), RangeError);
});

test('many appends at once keep their order', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  const placed = numbers(700).map((reason) => log.place(entry(reason)));
  assert.deepEqual(
    placed.map(({ index }) => index),
    numbers(700).map(Number),
  );
  await placed.at(-1)?.durable;
  assert.deepEqual(await reasonsOf(await disk.open()), numbers(700));
});

test('tiles, roots and proofs are those of RFC 6962, before a restart and after it', async () => {
  const disk = new FakeDisk(8 * CAPACITY);
  let log = await disk.open();
  const leaves: Uint8Array[] = [];
  for (const batch of [1, 2, 255, 256, 300, 1000, 3000]) {
    const entries = numbers(batch, leaves.length).map(entry);
    const placed = entries.map((each) => log.place(each));
    await placed.at(-1)?.durable;
    leaves.push(...(await log.entries(leaves.length, batch)).map(leafHash));
    await holds(log, leaves);
    log = await disk.open();
    await holds(log, leaves);
  }
});

/** Holds what a log says of its tree against the definition. */
async function holds(log: RecordLog, leaves: readonly Uint8Array[]): Promise<void> {
  const size = leaves.length;
  assert.deepEqual(log.durable, { size, root: merkleRoot(leaves) });
  for (const tile of tilesOf(size)) assert.deepEqual(await log.tile(tile), tileBytes(leaves, tile));
  for (const old of [1, 2, Math.ceil(size / 3), size - 1, size]) {
    if (old < 1 || old > size) continue;
    assert.deepEqual(await log.rootAt(old), merkleRoot(leaves.slice(0, old)));
    const path = await log.consistency(old, size);
    assert.deepEqual(rootFromConsistency(merkleRoot(leaves.slice(0, old)), old, size, path), log.durable.root);
    const index = old - 1;
    assert.deepEqual(await log.inclusion(index, size), inclusionPath(leaves, index));
    assert.deepEqual(await log.inclusion(0, old), inclusionPath(leaves.slice(0, old), 0));
  }
}

test('a bundle of entries is that of C2SP tlog-tiles', async () => {
  const log = await (await diskOf(numbers(3))).open();
  const bundle = await log.tile({ level: 'entries', index: 0, width: 3 });
  assert.deepEqual(bundle, encodeEntries(await log.entries(0, 3)));
});

test('a record has its hash at once, and no other record can take its place', async () => {
  const path = join(folder, 'at-once');
  await writeFile(path, '');
  const device = await openDevice(path);
  try {
    const log = await RecordLog.open(device, CAPACITY);
    const placed = ['a', 'b', 'c'].map((reason) => log.place(entry(reason)));
    assert.equal(statSync(path).size, 0); // at once: the write begins in the next turn
    assert.equal(log.durable.size, 0);
    assert.equal(log.size, 3);
    await placed[2]?.durable;
    assert.deepEqual(
      (await log.entries(0, 3)).map((each) => `sha256:${toHex(recordHash(each))}`),
      placed.map(({ hash }) => hash),
    );
  } finally {
    await device.close();
  }
});

test('nothing is durable, and nothing can be proved, before its write has resolved', async () => {
  const disk = await diskOf(['a']);
  const write = Promise.withResolvers<void>();
  const { device } = disk;
  const held = async (...args: never[]): Promise<unknown> => {
    await write.promise;
    return await (device.write as (...args: never[]) => unknown)(...args);
  };
  const slow = { ...device, write: held };
  const log = await RecordLog.open(slow as unknown as typeof device, CAPACITY);
  const heads: number[] = [];
  log.onDurable(({ size }) => heads.push(size));
  const { durable } = log.place(entry('b'));
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
  assert.equal(log.durable.size, 1);
  await assert.rejects(log.inclusion(1, 2), RangeError);
  await assert.rejects(log.rootAt(2), RangeError);
  await assert.rejects(log.entries(1, 1), RangeError);
  await assert.rejects(log.tile({ level: 0, index: 0, width: 2 }), RangeError);
  assert.deepEqual(heads, []);
  write.resolve();
  await durable;
  assert.equal(log.durable.size, 2);
  assert.deepEqual(heads, [2]);
  assert.equal((await log.inclusion(1, 2)).length, 1);
});

test('a device waits for the disk with every write', async () => {
  const path = join(folder, 'dsync');
  await writeFile(path, '');
  const device = (await openDevice(path)) as FileHandle;
  try {
    const flags = /flags:\s+([0-7]+)/.exec(await readFile(`/proc/self/fdinfo/${device.fd}`, 'utf8'))?.[1] ?? '0';
    assert.equal(Number.parseInt(flags, 8) & constants.O_DSYNC, constants.O_DSYNC);
  } finally {
    await device.close();
  }
});

test('room is told before it is gone, and some is kept for the runtime itself, also after a restart', async () => {
  const disk = new FakeDisk(512 * 1024);
  const log = await disk.open();
  const seen: string[] = [];
  let all = 0;
  log.onRoom((room) => {
    seen.push(room);
    assert(log.left < all / (room === 'scarce' ? 6 : 24), `${room} with ${log.left} of ${all}`);
    void log.append(entry('room'), 'runtime');
  });
  all = log.left;
  await assert.rejects(async () => {
    for (;;) await log.append(entry('call'));
  }, /the log is full/);
  assert.deepEqual(seen, ['scarce', 'none']);
  const reasons = await reasonsOf(await disk.open());
  assert.equal(reasons.filter((reason) => reason === 'room').length, 2);
  for (let boot = 0; boot < 3; boot++) {
    const later = await disk.open();
    assert.equal(later.room, 'none');
    await assert.rejects(later.append(entry('call')), /the log is full/);
    await later.append(entry('boot'), 'runtime');
  }
  assert.deepEqual(await reasonsOf(await disk.open()), [...reasons, 'boot', 'boot', 'boot']);
});

test('after a failed write nothing is acknowledged any more', async () => {
  const path = join(folder, 'read-only');
  await writeFile(path, (await diskOf(['a'])).bytes);
  const handle = await open(path, 'r'); // a disk that refuses writes
  try {
    const log = await RecordLog.open(handle, CAPACITY);
    for (let i = 0; i < 2; i++) await assert.rejects(log.append(entry('b')), refusedByLog);
    assert.deepEqual(await reasonsOf(log), ['a']);
  } finally {
    await handle.close();
  }
});

test('a record that could not be read back is refused by itself, and takes no other along', async () => {
  const disk = await diskOf(['a']);
  const log = await disk.open();
  const unreadable: Partial<Entry>[] = [
    { method: 'm'.repeat(513) },
    { sink: 's'.repeat(257) },
    { figures: { ['f'.repeat(513)]: 1 } },
    { figures: { half: 0.5 } },
    { label: Array.from({ length: 1024 }, (_, i) => `${i}`.padStart(200, 'x')) },
  ];
  const [good, ...bad] = await Promise.allSettled([
    log.append(entry('b')),
    ...unreadable.map((change) => log.append({ ...entry('c'), ...change })),
  ]);
  assert.equal(good?.status, 'fulfilled');
  for (const each of bad) assert(each.status === 'rejected' && refusedByLog(each.reason));
  assert.deepEqual(await reasonsOf(await disk.open()), ['a', 'b']);
});

test('a record has at most 65 535 bytes with its label, and one of so many can be read', async () => {
  const disk = new FakeDisk(4 * CAPACITY);
  const log = await disk.open();
  const label = Array.from({ length: 250 }, () => 'x'.repeat(250));
  const wide = (length: number): Entry => ({ ...entry('r'.repeat(length)), label });
  await log.append(wide(0));
  const most = 65_535 - ((await log.entries(0, 1))[0]?.length ?? 0);
  await log.append(wide(most));
  assert.equal((await log.entries(1, 1))[0]?.length, 65_535);
  await assert.rejects(log.append(wide(most + 1)), refusedByLog);
  assert.equal((await disk.open()).began.size, 2);
});

test('records of other letters than ASCII are read back', async () => {
  const disk = await diskOf(['ä', '日本', '😀']);
  assert.deepEqual(await reasonsOf(await disk.open()), ['ä', '日本', '😀']);
});

test('a log of the first format is refused, not taken for an empty disk', async () => {
  const disk = new FakeDisk();
  const record = utf8('{"basis":"enforced"}');
  disk.bytes.writeUInt32BE(record.length);
  disk.bytes.set(record, 4);
  await assert.rejects(disk.open(), (error) => refusedByLog(error) && /first format/.test(`${error}`));
});

test('a log for a disk of another size is refused', async () => {
  const disk = await diskOf(['a']);
  const larger = new FakeDisk(2 * CAPACITY);
  larger.bytes.set(disk.bytes);
  await assert.rejects(larger.open(), refusedByLog);
  await assert.rejects(new FakeDisk(1024).open(), refusedByLog);
});
