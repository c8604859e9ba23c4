/** Both partition tables say the same, and rows that could not be are refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { formatGuid } from '@enclaim/attestation/guid';
import { fc } from '../../../test/support/properties.ts';
import { GPT_HEAD, GPT_TAIL, gptEvent, gptExtents, type PartitionTable } from '../../src/disk/gpt.ts';
import { bytesAt } from './sparse-bytes.ts';

const GUID = (byte: string): string => [8, 4, 4, 4, 12].map((length) => byte.repeat(length / 2)).join('-');
const TABLE: PartitionTable = {
  id: GUID('d1'),
  sectors: 4096,
  partitions: [
    { type: GUID('a1'), id: GUID('a2'), name: 'one', first: 2048, sectors: 1000 },
    { type: GUID('b1'), id: GUID('b2'), name: 'thirty-six characters, as many as fit', first: 3048, sectors: 4 },
  ].map((row) => ({ ...row, name: row.name.slice(0, 36) })),
};

/** As UEFI 2.10, 5.3.2 and 5.3.3 have it; refuses what firmware would. */
function readTable(table: PartitionTable, at: number): PartitionTable & { other: number; entriesAt: number } {
  const extents = gptExtents(table);
  const header = bytesAt({ extents }, at * 512, 512);
  assert.equal(header.toString('latin1', 0, 8), 'EFI PART');
  assert.equal(header.readUInt32LE(12), 92);
  assert.ok(header.subarray(92).every((byte) => byte === 0));
  const sum = header.readUInt32LE(16);
  header.writeUInt32LE(0, 16);
  assert.equal(crc32(header.subarray(0, 92)), sum);
  const number = (offset: number): number => Number(header.readBigUInt64LE(offset));
  assert.equal(number(24), at);
  assert.deepEqual([number(40), number(48)], [GPT_HEAD, table.sectors - GPT_TAIL - 1]);
  const entries = bytesAt({ extents }, number(72) * 512, header.readUInt32LE(80) * header.readUInt32LE(84));
  assert.equal(crc32(entries), header.readUInt32LE(88));
  const rows = Array.from({ length: 128 }, (_, i) => entries.subarray(i * 128, (i + 1) * 128));
  const partitions = rows
    .filter((row) => row.subarray(0, 16).some((byte) => byte !== 0))
    .map((row) => ({
      type: formatGuid(row.subarray(0, 16)),
      id: formatGuid(row.subarray(16, 32)),
      name: row.toString('utf16le', 56).replace(/\0+$/, ''),
      first: Number(row.readBigUInt64LE(32)),
      sectors: Number(row.readBigUInt64LE(40) - row.readBigUInt64LE(32)) + 1,
    }));
  return {
    id: formatGuid(header.subarray(56, 72)),
    sectors: table.sectors,
    partitions,
    other: number(32),
    entriesAt: number(72),
  };
}

test('both tables say the same, and each where the other is', () => {
  const last = TABLE.sectors - 1;
  assert.deepEqual(readTable(TABLE, 1), { ...TABLE, other: last, entriesAt: 2 });
  assert.deepEqual(readTable(TABLE, last), { ...TABLE, other: 1, entriesAt: last - 32 });
});

test('any rows that fit come back', () => {
  const rows = fc.array(fc.tuple(fc.nat(50), fc.integer({ min: 1, max: 50 })), { maxLength: 128 });
  fc.assert(
    fc.property(rows, fc.integer({ min: 20_000, max: 2 ** 32 + 7 }), (gaps, sectors) => {
      let free = GPT_HEAD;
      const partitions = gaps.map(([gap, length]) => {
        const first = free + gap;
        free = first + length;
        return { type: GUID('a1'), id: GUID('a2'), name: 'x', first, sectors: length };
      });
      const table = { id: GUID('d1'), sectors, partitions };
      assert.deepEqual(readTable(table, sectors - 1).partitions, partitions);
    }),
  );
});

test('the protective record covers the disk, as far as it can count', () => {
  for (const [sectors, covered] of [
    [4096, 4095],
    [2 ** 33, 0xffff_ffff],
  ] as const) {
    const record = bytesAt({ extents: gptExtents({ ...TABLE, sectors }) }, 0, 512);
    assert.ok(record.subarray(0, 446).every((byte) => byte === 0)); // no program
    assert.deepEqual([record[450], record.readUInt32LE(454), record.readUInt32LE(458)], [0xee, 1, covered]);
    assert.ok(record.subarray(462, 510).every((byte) => byte === 0));
    assert.equal(record.readUInt16LE(510), 0xaa55);
  }
});

test('what firmware measures is header, count and the rows in use, as they are on the disk', () => {
  const disk = { extents: gptExtents(TABLE) };
  const count = Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]);
  const expected = Buffer.concat([bytesAt(disk, 512, 92), count, bytesAt(disk, 1024, 256)]);
  assert.deepEqual(Buffer.from(gptEvent(TABLE)), expected);
});

test('a row that overlaps, leaves the disk or has no name is refused', () => {
  const [one, two] = TABLE.partitions;
  assert.ok(one && two);
  for (const change of [
    { first: GPT_HEAD - 1 },
    { first: TABLE.sectors - GPT_TAIL, sectors: 1 },
    { sectors: 1001 },
    { sectors: 0 },
    { name: '' },
    { name: 'x'.repeat(37) },
    { name: 'ü' },
  ]) {
    assert.throws(
      () => gptExtents({ ...TABLE, partitions: [{ ...one, ...change }, two] }),
      RangeError,
      JSON.stringify(change),
    );
  }
  assert.throws(() => gptExtents({ ...TABLE, partitions: [{ ...one, type: 'x' }] }), { name: 'DecodeError' });
});
