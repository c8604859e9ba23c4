/** A disk or partition is found by its exact name, and never chosen between two. */

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findDisk } from '../../src/linux/disk.ts';

const sysfs = mkdtempSync(join(tmpdir(), 'enclaim-disks-'));
after(() => rmSync(sysfs, { recursive: true }));

function device(name: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(sysfs, name));
  for (const [file, text] of Object.entries({ size: '8\n', ro: '0\n', ...files }))
    writeFileSync(join(sysfs, name, file), text);
}

/** As the kernel writes them for a partition. */
const partition = (number: number, name?: string): string =>
  ['MAJOR=259', 'MINOR=2', 'DEVTYPE=partition', `PARTN=${number}`, ...(name === undefined ? [] : [`PARTNAME=${name}`])]
    .map((line) => `${line}\n`)
    .join('');
const DISK = 'MAJOR=254\nMINOR=0\nDEVTYPE=disk\n';

device('loop0', { uevent: DISK }); // has no serial file
device('vda', { uevent: DISK, serial: 'app', size: '16\n', ro: '1\n' });
device('vdb', { uevent: DISK, serial: 'state\n', size: '2097152\n' });
device('nvme0n1', { uevent: DISK });
device('nvme0n1p1', { uevent: partition(1, 'EFI system partition') });
device('nvme0n1p2', { uevent: partition(2, 'enclaim-data'), size: '2048\n', ro: '1\n' });
device('nvme0n1p3', { uevent: partition(3, 'enclaim-data2') });
device('sda1', { uevent: partition(1) }); // of a table without names

test('finds a disk by its serial', () => {
  assert.deepEqual(findDisk('app', sysfs), { path: '/dev/vda', size: 8192, readOnly: true });
  assert.deepEqual(findDisk('state', sysfs), { path: '/dev/vdb', size: 2 ** 30, readOnly: false });
  assert.equal(findDisk('other', sysfs), undefined);
});

test('finds a partition by its name, on a disk of any kind', () => {
  assert.deepEqual(findDisk('data', sysfs), { path: '/dev/nvme0n1p2', size: 2 ** 20, readOnly: true });
});

test('no part of a name, of another line or of another device is taken for it', () => {
  for (const use of ['dat', 'data2 ', '', 'EFI system partition', '1', '.*'])
    assert.equal(findDisk(use, sysfs), undefined);
});

test('refuses to choose between two, of either kind', () => {
  const ambiguous = { name: 'LinuxError', code: 'EEXIST' };
  device('vdc', { uevent: DISK, serial: 'state', size: '8\n' });
  assert.throws(() => findDisk('state', sysfs), ambiguous);
  device('sdb2', { uevent: partition(2, 'enclaim-data') });
  assert.throws(() => findDisk('data', sysfs), ambiguous);
  device('sdb3', { uevent: partition(3, 'enclaim-app') });
  assert.throws(() => findDisk('app', sysfs), ambiguous);
});
