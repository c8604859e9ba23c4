import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { findDisk } from '../../src/linux/disk.ts';

const sysfs = mkdtempSync(join(tmpdir(), 'enclaim-disks-'));
after(() => rmSync(sysfs, { recursive: true }));

function disk(name: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(sysfs, name));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(sysfs, name, file), text);
}

disk('loop0', { size: '0\n', ro: '0\n' }); // has no serial file
disk('vda', { serial: 'app', size: '16\n', ro: '1\n' });
disk('vdb', { serial: 'state\n', size: '2097152\n', ro: '0\n' });

test('finds a disk by its serial', () => {
  assert.deepEqual(findDisk('app', sysfs), { path: '/dev/vda', size: 8192, readOnly: true });
  assert.deepEqual(findDisk('state', sysfs), { path: '/dev/vdb', size: 2 ** 30, readOnly: false });
  assert.equal(findDisk('other', sysfs), undefined);
});

test('refuses to choose between two', () => {
  disk('vdc', { serial: 'state', size: '8\n', ro: '0\n' });
  assert.throws(() => findDisk('state', sysfs), { name: 'LinuxError', code: 'EEXIST' });
});
