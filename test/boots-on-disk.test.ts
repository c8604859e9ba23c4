/**
 * A quote counts for the boot that wrote its records and for no other tree, whoever holds the disk; and of more boots
 * than are listed, the oldest are named as left out.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { auditLog, BootsOnDisk, type DiskBoots, MAX_DISK_BOOTS, type ReadDisk } from '@enclaim/attestation/log-disk';
import { RecordLog } from '../runtime/src/log/record-log.ts';
import { entry, FakeDisk } from '../runtime/test/log/support.ts';
import { firstRecord, namedBootOn, quoteOf } from './support/named-boots.ts';

async function listed(disk: FakeDisk): Promise<DiskBoots<undefined>> {
  const read: ReadDisk = async (at, length) => disk.bytes.subarray(at, at + length);
  const boots = new BootsOnDisk();
  const audit = await auditLog(read, disk.bytes.length, [], (block) => boots.hear(block));
  assert.deepEqual(audit.faults, []);
  return boots.list(read, disk.bytes.length, audit);
}

test('a quote of the boot over the records that it wrote counts for them', async () => {
  const disk = new FakeDisk();
  const boot = await namedBootOn(disk);
  await boot.log.append(entry('one'));
  assert.ok(await boot.log.keepQuote(await quoteOf(boot)));
  const { boots, idle } = await listed(disk);
  assert.deepEqual([boots.map(({ began, end, quoted }) => [began, end, quoted]), idle], [[[0, 2, 2]], []]);
});

test('a quote of a tree of as many records, of another log, covers nothing', async () => {
  const disk = new FakeDisk();
  const boot = await namedBootOn(disk);
  const fork = disk.copy();
  const other = await RecordLog.open(fork.device, fork.bytes.length);
  await other.append(entry('what the host would like to have been said'));
  await boot.log.append(entry('what was said'));
  assert.equal(other.durable.size, boot.log.durable.size);
  assert.ok(await boot.log.keepQuote(await quoteOf(boot, other.durable)));
  const { boots, idle } = await listed(disk);
  assert.equal(boots[0]?.quoted, 0);
  assert.deepEqual(
    idle.map(({ kind, message }) => [kind, message]),
    [['refused', "log: its checkpoint is another tree of 2 records than the log's"]],
  );
});

test('a quote of a boot that reaches over records of the next covers nothing of either', async () => {
  const disk = new FakeDisk();
  const first = await namedBootOn(disk);
  const next = await namedBootOn(disk);
  assert.ok(await next.log.keepQuote(await quoteOf(first, next.log.durable)));
  const { boots, idle } = await listed(disk);
  assert.deepEqual(
    boots.map(({ began, quoted }) => [began, quoted]),
    [
      [0, 0],
      [1, 1],
    ],
  );
  assert.deepEqual(
    idle.map(({ kind, message }) => [kind, message]),
    [['refused', 'log: over 2 records, the next boot began at 1']],
  );
});

test('of more boots than are listed, the oldest are left out, and their number is said', async () => {
  const disk = new FakeDisk(16 * 1024 * 1024);
  const log = await RecordLog.open(disk.device, disk.bytes.length);
  const ids = Array.from({ length: MAX_DISK_BOOTS + 2 }, (_, i) => i.toString(16).padStart(32, '0'));
  for (const id of ids) await log.append(firstRecord(id, log.size), 'runtime');
  const { boots, omitted } = await listed(disk);
  assert.deepEqual([boots.length, omitted], [MAX_DISK_BOOTS, 2]);
  assert.deepEqual([boots[0]?.id, boots.at(-1)?.id], [ids[2], ids.at(-1)]);
});
