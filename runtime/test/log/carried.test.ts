/**
 * Parts of a block stand or fall with the record that they ride with, and are read back where the
 * log said that they landed.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { auditLog, JOURNAL_BEGIN } from '@enclaim/attestation/log-disk';
import type { Carried } from '../../src/log/commit-queue.ts';
import type { RecordLog } from '../../src/log/record-log.ts';
import { entry, FakeDisk, numbers } from './support.ts';

/** A part that remembers where it landed. */
function part(data: Buffer, landed: number[] = []): Carried {
  return { length: data.length, write: () => data, landed: (position) => landed.push(position) };
}

/** Everything that the journal has of sealed state. */
async function sectionsOf(log: RecordLog): Promise<Buffer[]> {
  const found: Buffer[] = [];
  await log.state.follow(JOURNAL_BEGIN, ({ data }) => found.push(Buffer.from(data)));
  return found;
}

test('parts ride with their record, whether they come before it or after it', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  const data = [randomBytes(100), randomBytes(3000), randomBytes(5)];
  const landed: number[] = [];
  log.expect(100);
  log.carry(part(data[0] ?? Buffer.of(), landed));
  const { durable } = log.place(entry('one'));
  log.expect(3005 + 6);
  const second = log.place(entry('two'));
  for (const each of data.slice(1)) log.carry(part(each, landed));
  await durable;
  await second.durable;
  assert.equal(landed.length, 3);
  for (const [i, position] of landed.entries())
    assert.deepEqual(Buffer.from(await log.state.read(position, data[i]?.length ?? 0)), data[i]);
  const again = await disk.open();
  assert.deepEqual(await sectionsOf(again), data);
  assert.equal(again.began.size, 2);
  const read = async (at: number, length: number) => disk.bytes.subarray(at, at + length);
  const { faults } = await auditLog(read, disk.bytes.length);
  assert.deepEqual(faults, []);
});

test('parts ride with their record where a listener places another behind it', async () => {
  const log = await new FakeDisk().open();
  const data = randomBytes(100);
  const listening = new Set(['first']);
  log.onPlaced(({ reason }) => {
    if (listening.delete(reason)) void log.append(entry('of the listener'));
  });
  log.expect(100);
  const { durable } = log.place(entry('first'));
  log.carry(part(data));
  await durable;
  assert.deepEqual(await sectionsOf(log), [data]);
  assert.equal(log.size, 2);
  // The room was taken: what comes in another turn has none.
  assert.throws(() => log.carry(part(data)), TypeError);
});

test('a part without room of its own is a defect, and a record that has no place breaks what came before it', async () => {
  const log = await new FakeDisk().open();
  assert.throws(() => log.carry(part(randomBytes(8))), TypeError);
  log.expect(8);
  assert.throws(() => log.carry(part(randomBytes(9))), TypeError);
  log.carry(part(randomBytes(8)));
  assert.throws(() => log.place({ ...entry('x'), reason: 'x'.repeat(70_000) }), { code: 'log' });
  assert.throws(() => log.place(entry('y')), { code: 'log' });
});

test('what no block holds is refused as the call asks for it', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  assert.throws(() => log.expect(disk.layout.maxBlock), { code: 'budget', final: true });
  const most = Math.floor(disk.layout.maxBlock / 2);
  for (const reason of numbers(3)) {
    log.expect(most);
    const { durable } = log.place(entry(reason));
    log.carry(part(randomBytes(most)));
    await durable;
  }
  assert.equal((await sectionsOf(log)).length, 3);
});

test('parts without a record have blocks of their own, and work between blocks sees all before it', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  const landed: number[] = [];
  const first = log.append(entry('one'));
  const alone = log.carryLate(part(randomBytes(50), landed));
  const seen = log.between(async () => [landed.length, log.durable.size]);
  const after = log.append(entry('two'));
  assert.deepEqual(await seen, [1, 1]);
  await Promise.all([first, alone, after]);
  const again = await disk.open();
  assert.equal(again.began.size, 2);
  assert.equal((await sectionsOf(again)).length, 1);
  assert.deepEqual(
    (await auditLog(async (at, length) => disk.bytes.subarray(at, at + length), disk.bytes.length)).faults,
    [],
  );
});

test('space that is held is not used again, whatever is forgotten', async () => {
  for (const isHeld of [true, false]) {
    const disk = new FakeDisk(1024 * 1024);
    const log = await disk.open();
    const landed: number[] = [];
    const data = randomBytes(5000);
    log.expect(5000);
    const placed = log.place(entry('kept'));
    log.carry(part(data, landed));
    await placed.durable;
    if (isHeld) log.state.hold(() => 0);
    let isFull = false;
    for (let round = 0; round < 300 && !isFull; round++) {
      try {
        await Promise.all(numbers(10).map((reason) => log.append(entry(reason))));
        log.forget(log.durable.size - 1);
      } catch (error) {
        assert.match(`${error}`, /the log is full/);
        isFull = true;
      }
    }
    assert.equal(isFull, isHeld);
    const kept = Buffer.from(await log.state.read(landed[0] ?? 0, 5000)).equals(data);
    assert.equal(kept, isHeld);
  }
});

test('what is not durable yet is pending, also a part without a record, and for ever where a write failed', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  assert.equal(log.pending, undefined);
  const landed: number[] = [];
  const late = log.carryLate(part(randomBytes(100), landed));
  await log.pending;
  assert.equal(landed.length, 1);
  await late;
  const { durable } = log.place(entry('one'));
  await log.pending;
  assert.equal(log.durable.size, 1);
  await durable;
  assert.equal(log.pending, undefined);
  disk.takes.push(new Error('EIO'));
  const failing = log.place(entry('two'));
  const { pending } = log;
  await assert.rejects(failing.durable, { code: 'log' });
  await assert.rejects(Promise.resolve(pending), { code: 'log' });
  await assert.rejects(Promise.resolve(log.pending), { code: 'log' });
});

test('blocks without a record do not hide the time of the newest one, also where it was forgotten', async () => {
  const disk = new FakeDisk();
  const log = await disk.open();
  const { time } = entry('one');
  await log.append(entry('one'));
  const late = (): Promise<void> => log.carryLate(part(randomBytes(8000)));
  for (let i = 0; i < 3; i++) await late();
  assert.equal((await disk.open()).newest, time);
  log.forget(1);
  // More than a superblock is written after, in blocks without records alone.
  for (let i = 0; i < 30; i++) await late();
  const next = await disk.open();
  assert.deepEqual([next.newest, next.minimum, next.began], [time, 1, log.durable]);
  await next.append(entry('two'));
  const read = async (at: number, length: number) => disk.bytes.subarray(at, at + length);
  assert.deepEqual((await auditLog(read, disk.bytes.length)).faults, []);
});

test('room that is asked for and taken is given back to the byte', async () => {
  const disk = new FakeDisk(4 * 1024 * 1024);
  const log = await disk.open();
  await log.append(entry('one'));
  for (let bytes = 480; bytes < 1000; bytes++) {
    const late = log.carryLate(part(Buffer.alloc(bytes)));
    if (bytes % 3 === 0) log.place(entry(`${bytes}`));
    await late;
    await log.pending;
    if (bytes % 100 === 0) assert.equal(log.left, (await disk.open()).left, `${bytes} bytes`);
  }
});
