/**
 * Whatever part of the last write a crash leaves on the disk, in whatever order: every acknowledged
 * record is there, and the tree is one that the log had.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '@enclaim/attestation/bytes';
import { auditLog } from '@enclaim/attestation/log-disk';
import { count } from '../../../test/support/long.ts';
import { RecordLog } from '../../src/log/record-log.ts';
import { type Draw, diskOf, entry, FakeDisk, numbers, seededDraw } from './support.ts';

const SECTOR = 512;
const EIO = (code: string): Error => Object.assign(new Error(`${code}: write`), { code });

/** Puts some sectors of a write on a disk. */
function tear(disk: FakeDisk, { at, data }: FakeDisk['writes'][number], draw: Draw): void {
  const share = draw(4);
  for (let from = 0; from < data.length; from += SECTOR)
    if (draw(4) <= share) disk.bytes.set(data.subarray(from, from + SECTOR), at + from);
}

/** A batch of records, acknowledged. */
async function append(log: RecordLog, size: number): Promise<void> {
  const placed = numbers(size, log.size).map((reason) => log.place(entry(reason)));
  await placed.at(-1)?.durable;
}

/** A tree that a log had, as a text. */
const nameOf = ({ size, root }: { size: number; root: Uint8Array }): string => `${size} ${toHex(root)}`;

test('a torn last block is as if it had never been', async () => {
  const draw = seededDraw('torn block');
  // Behind the end lie zeros, or what a ring had there a round before.
  for (const rounds of [0, 40]) {
    const disk = new FakeDisk(256 * 1024);
    const log = await disk.open();
    for (let round = 0; round < 3 + rounds; round++) {
      await append(log, 12);
      if (rounds > 0) log.forget(Math.max(0, log.durable.size - 40));
    }
    const before = disk.copy();
    const old = log.durable;
    disk.keepsWrites = true;
    await append(log, 20);
    const last = disk.writes.at(-1) ?? assert.fail();
    assert(last.data.length > 8 * SECTOR);
    for (let run = 0; run < count(300, 5000, 50); run++) {
      const torn = before.copy();
      tear(torn, last, draw);
      const whole = torn.bytes.subarray(last.at, last.at + last.data.length).equals(last.data);
      const found = await torn.open();
      assert.deepEqual(found.began, whole ? log.durable : old, `run ${run}`);
      if (run % 10 > 0) continue;
      await append(found, 5);
      const again = await torn.open();
      assert.deepEqual(again.began, found.durable);
    }
  }
});

test('a crash in any write, of blocks, tiles, places or superblocks, loses nothing that was acknowledged', async () => {
  const draw = seededDraw('any write');
  const disk = new FakeDisk(256 * 1024);
  disk.keepsWrites = true;
  const trees = new Set<string>();
  /** By the number of writes: how many records had been acknowledged. */
  const acknowledged: number[] = [];
  for (let boot = 0; boot < 4; boot++) {
    const log = await disk.open();
    trees.add(nameOf(log.durable));
    for (let round = 0; round < 40; round++) {
      await append(log, 1 + draw(12));
      trees.add(nameOf(log.durable));
      acknowledged[disk.writes.length] = log.durable.size;
      if (log.durable.size > 60) log.forget(log.durable.size - 30 - draw(20));
    }
  }
  const crashed = new FakeDisk(256 * 1024);
  let least = 0;
  for (const [done, write] of disk.writes.entries()) {
    least = acknowledged[done] ?? least;
    for (let run = 0; run < count(4, 60, 1); run++) {
      const torn = crashed.copy();
      tear(torn, write, draw);
      const log = await torn.open();
      assert(log.began.size >= least, `write ${done}: ${log.began.size} of ${least}`);
      assert(trees.has(nameOf(log.began)), `write ${done}: a tree of ${log.began.size} that never was`);
      const { minimum } = log;
      if (log.began.size > minimum) await log.entries(minimum, log.began.size - minimum);
    }
    crashed.bytes.set(write.data, write.at);
  }
});

test('a write that the disk loses ends the log, and the boot says so', async () => {
  const disk = await diskOf(numbers(6));
  const journal = disk.reader.journal(4096);
  const second = await journal.next({ position: 0, prior: new Uint8Array(32), size: 0 });
  const at = disk.layout.journal.base + second.length + SECTOR;
  disk.bytes.fill(0, at - (at % SECTOR), at - (at % SECTOR) + SECTOR);
  const log = await disk.open();
  assert(log.began.size < 6);
  assert.equal(log.discarded, true);
});

test('a disk that is full in mid-write acknowledges nothing of it, and the next boot goes on before it', async () => {
  for (const error of [EIO('ENOSPC'), EIO('EIO'), 0]) {
    const disk = await diskOf(['a', 'b']);
    const log = await disk.open();
    await log.append(entry('c'));
    const { durable } = log;
    disk.takes.push(700, error);
    const waiting = numbers(20).map((reason) => log.append(entry(reason)));
    for (const each of await Promise.allSettled(waiting)) assert.equal(each.status, 'rejected');
    await assert.rejects(log.append(entry('d')), /failed earlier/);
    assert.deepEqual(log.durable, durable);
    const next = await disk.open();
    assert.deepEqual(next.began, durable);
    assert.equal(next.discarded, true);
    await next.append(entry('d'));
    assert.equal((await disk.open()).began.size, 4);
  }
});

test('a read that is short is gone on with, and does not look like the end', async () => {
  const disk = await diskOf(numbers(50));
  const { device } = disk;
  const read = (into: Uint8Array, offset: number, length: number, at: number) =>
    (device.read as (...args: unknown[]) => unknown)(into, offset, Math.min(length, 1000), at);
  const log = await RecordLog.open({ ...device, read } as unknown as typeof device, disk.bytes.length);
  assert.equal(log.began.size, 50);
  assert.equal((await log.entries(0, 50)).length, 50);
});

test('a long log is found without superblocks, its tiles on the disk or not', async () => {
  const disk = new FakeDisk(32 * 1024 * 1024);
  const log = await disk.open();
  for (let round = 0; round < 20; round++) await append(log, 1000);
  const { durable, size } = { durable: log.durable, size: log.size };
  for (const lost of [false, true]) {
    const bare = disk.copy();
    bare.bytes.fill(0, 0, lost ? disk.layout.places : 8192);
    let found = await bare.open();
    assert.deepEqual(found.began, durable);
    await found.append(entry('more'));
    assert.deepEqual(await found.consistency(durable.size, size + 1), await found.consistency(size, size + 1));
    found = await bare.open();
    assert.equal((await found.tile({ level: 0, index: 3, width: 256 })).length, 8192);
    const { faults } = await auditLog(async (at, length) => bare.bytes.subarray(at, at + length), bare.bytes.length, [
      durable,
    ]);
    // One superblock is still lost: the boot has written the other.
    assert.deepEqual(
      faults.map(({ part }) => part),
      ['superblock'],
    );
  }
});

test('without superblocks, a log that never went round is read once', async () => {
  const disk = new FakeDisk(16 * 1024 * 1024);
  const log = await disk.open();
  for (let round = 0; round < 200; round++) await append(log, 50);
  const { journal } = disk.layout;
  disk.bytes.fill(0, 0, 8192);
  const read = new Map<number, number>();
  const { device } = disk;
  const counting = (into: Uint8Array, offset: number, length: number, at: number) => {
    for (let from = at; from < at + length; from += SECTOR) read.set(from, (read.get(from) ?? 0) + 1);
    return (device.read as (...args: unknown[]) => unknown)(into, offset, length, at);
  };
  const found = await RecordLog.open({ ...device, read: counting } as unknown as typeof device, disk.bytes.length);
  assert.deepEqual(found.began, log.durable);
  // The first stretch is looked at before, and behind the last one is looked for more.
  const ahead = 1024 * 1024;
  const middle = [...read].filter(([at]) => at >= journal.base + ahead && at < journal.base + log.end.position - ahead);
  const reads = middle.reduce((sum, [, times]) => sum + times, 0);
  // A block over the end of what was read ahead is read again, whole.
  assert(middle.length > 3000 && reads < 1.2 * middle.length, `${reads} reads of ${middle.length} sectors`);
});

test('without superblocks, a log goes on behind a damaged block only where more records are', async () => {
  for (const [before, behind] of [
    [600, 100],
    [100, 600],
  ] as const) {
    const disk = new FakeDisk(4 * 1024 * 1024);
    const first = await disk.open();
    await append(first, before);
    const damaged = first.end.position;
    await append(first, 5);
    await append(first, behind);
    await disk.open().then((again) => append(again, 1)); // which writes the tiles
    const { durable } = await disk.open();
    disk.bytes.fill(0, 0, 8192);
    disk.bytes[disk.layout.journal.base + damaged + 200] = 0xff;
    const found = await disk.open();
    if (before > behind) assert.deepEqual([found.began.size, found.discarded], [before, true]);
    else {
      assert.deepEqual([found.began, found.minimum], [durable, before + 5]);
      assert.equal((await found.entries(durable.size - 1, 1)).length, 1);
    }
  }
});

test('of two writers on one disk, the one that finds the other stops', async () => {
  const disk = await diskOf(['a']);
  const [one, other] = [await disk.open(), await disk.open()];
  await one.append(entry('one'));
  await other.append(entry('other'));
  await assert.rejects(async () => {
    for (let i = 0; i < 1000; i++) await one.append(entry('one'));
  }, /could not be made durable/);
  await assert.rejects(one.append(entry('one')), /failed earlier/);
});

test('a bit flipped in an old block or tile is named by who asks for it, and all else is served', async () => {
  const disk = new FakeDisk();
  const first = await disk.open();
  for (let round = 0; round < 70; round++) await append(first, 10);
  const log = await disk.open(); // settled
  await append(log, 1);
  const layout = disk.layout;
  for (const at of [layout.journal.base + 3000, (layout.levels[0]?.base ?? 0) + 40]) {
    const flipped = disk.copy();
    flipped.bytes[at] = (flipped.bytes[at] ?? 0) ^ 4;
    const found = await flipped.open();
    assert.deepEqual(found.began, log.durable);
    const isTile = at < layout.journal.base;
    if (isTile) await assert.rejects(found.tile({ level: 0, index: 0, width: 256 }), /is not the one of the tree/);
    await assert.rejects(found.entries(0, 1), { code: 'log' });
    assert.equal((await found.entries(700, 1)).length, 1);
    await found.append(entry('more'));
    assert.equal((await found.tile({ level: 0, index: 1, width: 256 })).length, 8192);
  }
});
