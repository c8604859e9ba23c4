/** A virtual hard disk is the disk and a footer that Azure takes, or is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sparseFile } from '../../src/disk/sparse.ts';
import { fixedVhd } from '../../src/disk/vhd.ts';
import { bytesAt } from './sparse-bytes.ts';

const GIBIBYTE = 2 ** 30;
const seed = new Uint8Array(16);
const footerOf = (size: number): Buffer => bytesAt(fixedVhd(sparseFile(size, []), seed), size, 512);

test('the disk as it is, then the footer', () => {
  const disk = sparseFile(GIBIBYTE, [{ at: 1024, bytes: new Uint8Array(512).fill(7) }]);
  const vhd = fixedVhd(disk, seed);
  assert.equal(vhd.size, GIBIBYTE + 512);
  assert.deepEqual(vhd.extents.slice(0, -1), disk.extents);
  const footer = footerOf(GIBIBYTE);
  assert.equal(footer.toString('latin1', 0, 8), 'conectix');
  assert.deepEqual([footer.readUInt32BE(8), footer.readUInt32BE(12)], [2, 0x10000]);
  assert.equal(footer.readBigUInt64BE(16), 0xffff_ffff_ffff_ffffn);
  assert.equal(footer.readUInt32BE(24), 0); // no time of making
  assert.equal(footer.toString('latin1', 36, 40), 'Wi2k');
  assert.deepEqual([footer.readBigUInt64BE(40), footer.readBigUInt64BE(48)], [2n ** 30n, 2n ** 30n]);
  assert.equal(footer.readUInt32BE(60), 2); // fixed
  assert.ok(footer.subarray(84).every((byte) => byte === 0));
});

test('the checksum is the complement of the sum of every other byte', () => {
  for (const gibibytes of [1, 2, 2040]) {
    const footer = footerOf(gibibytes * GIBIBYTE);
    const sum = [...footer.subarray(0, 64), ...footer.subarray(68)].reduce((total, byte) => total + byte, 0);
    assert.equal(footer.readUInt32BE(64), 0xffff_ffff - sum);
  }
});

// Cylinders, heads and sectors by the pseudo-code in the specification's appendix; test/disk-tools.test.ts compares with qemu-img.
for (const [mebibytes, ...geometry] of [
  [20, 602, 4, 17],
  [100, 1003, 12, 17],
  [200, 825, 16, 31],
  [1024, 2080, 16, 63],
  [2048, 4161, 16, 63],
  [40_960, 20_560, 16, 255],
  [2_088_960, 65_535, 16, 255],
] as const) {
  test(`geometry of ${mebibytes} MiB`, () => {
    const footer = footerOf(mebibytes * 2 ** 20);
    assert.deepEqual([footer.readUInt16BE(56), footer[58], footer[59]], geometry);
  });
}

test('a disk that Azure would not take is refused', () => {
  assert.throws(() => fixedVhd(sparseFile(GIBIBYTE + 512, []), seed), RangeError);
});
