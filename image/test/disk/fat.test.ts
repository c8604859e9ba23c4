/** A loader comes back from its FAT volume, whatever its size, or is refused. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { bootVolume, type FatVolume } from '../../src/disk/fat.ts';
import { bytesAt } from './sparse-bytes.ts';

const at = { hidden: 2048, serial: 0x12345678 };

/** The file at EFI/BOOT/BOOTX64.EFI as Microsoft's specification says to find it. */
function readLoader(volume: FatVolume): Buffer {
  const boot = bytesAt(volume, 0, 512);
  const [reserved, fatSectors, sectors] = [boot.readUInt16LE(14), boot.readUInt32LE(36), boot.readUInt32LE(32)];
  assert.equal(sectors, volume.sectors);
  const dataAt = reserved + 2 * fatSectors;
  const clusters = sectors - dataAt;
  assert.ok(clusters >= 65_525, 'fewer clusters would make it FAT16');
  assert.ok(fatSectors * 128 >= clusters + 2, 'the table has an entry for each cluster');
  const tables = [0, 1].map((copy) => bytesAt(volume, (reserved + copy * fatSectors) * 512, fatSectors * 512));
  const [table = Buffer.alloc(0), second] = tables;
  assert.deepEqual(second, table);
  assert.equal(table.readUInt32LE(0) & 0xff, boot[21]);
  const chain = (first: number): Buffer => {
    const parts: Buffer[] = [];
    for (let cluster = first; cluster < 0x0fff_fff8; cluster = table.readUInt32LE(cluster * 4)) {
      assert.ok(cluster >= 2 && cluster < clusters + 2 && parts.length <= clusters, `cluster ${cluster}`);
      parts.push(bytesAt(volume, (dataAt + cluster - 2) * 512, 512));
    }
    return Buffer.concat(parts);
  };
  const used = Array.from({ length: clusters }, (_, i) => table.readUInt32LE((i + 2) * 4)).filter((next) => next !== 0);
  assert.equal(bytesAt(volume, 512, 512).readUInt32LE(488), clusters - used.length);
  let cluster = boot.readUInt32LE(44);
  for (const name of ['EFI        ', 'BOOT       ', 'BOOTX64 EFI']) {
    const directory = chain(cluster);
    const entries = Array.from({ length: directory.length / 32 }, (_, i) => directory.subarray(i * 32, (i + 1) * 32));
    const names = entries.filter((entry) => entry[0] !== 0).map((entry) => entry.toString('latin1', 0, 11));
    assert.deepEqual(
      names.filter((each) => !each.startsWith('.')),
      [name],
    );
    const entry = entries[names.indexOf(name)] ?? Buffer.alloc(0);
    assert.deepEqual([entry.readUInt16LE(16), entry.readUInt16LE(24)], [0x21, 0x21]); // 1980
    cluster = entry.readUInt16LE(20) * 65_536 + entry.readUInt16LE(26);
    if (name.endsWith('EFI')) return chain(cluster).subarray(0, entry.readUInt32LE(28));
  }
  throw new Error('no file');
}

// Around a sector, and where the volume is and is no longer as small as FAT32 may be.
for (const length of [1, 511, 512, 513, 33_500_000, 33_560_000, 35_000_001]) {
  test(`a loader of ${length} bytes comes back`, () => {
    const loader = randomBytes(length);
    const volume = bootVolume(loader, at);
    assert.equal(volume.sectors % 2048, 0);
    assert.ok(readLoader(volume).equals(loader));
  });
}

test('the boot sector stands twice, and the volume is as large as it must be', () => {
  const volume = bootVolume(randomBytes(1), at);
  assert.deepEqual(bytesAt(volume, 6 * 512, 1024), bytesAt(volume, 0, 1024));
  assert.deepEqual(volume.sectors, 33 * 2048); // 65,541 clusters and their tables
});

test('an empty file and one above 1 GiB are refused', () => {
  for (const length of [0, 2 ** 30 + 1]) {
    assert.throws(() => bootVolume(new Uint8Array(length), at), { name: 'ImageError', code: 'too-large' });
  }
});
