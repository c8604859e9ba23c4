/** A sparse file comes back from its archive, whose bytes depend on nothing but the file. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { fc } from '../../../test/support/properties.ts';
import { sparseTar, storedGzip } from '../../src/disk/archive.ts';
import { type SparseFile, sparseFile } from '../../src/disk/sparse.ts';

/** The one sparse member of an archive, as GNU tar's manual describes the old format. */
function readSparse(tar: Buffer): { name: string; file: SparseFile; rest: Buffer } {
  const number = (at: number): number =>
    tar[at] === 0x80 ? Number(tar.readBigUInt64BE(at + 4)) : Number.parseInt(tar.toString('latin1', at, at + 11), 8);
  const rows: { at: number; length: number }[] = [];
  const read = (from: number, count: number): void => {
    for (let i = 0; i < count && tar[from + 24 * i] !== 0; i++)
      rows.push({ at: number(from + 24 * i), length: number(from + 24 * i + 12) });
  };
  assert.equal(tar.toString('latin1', 257, 265), 'ustar  \0');
  assert.equal(tar.toString('latin1', 156, 157), 'S');
  const sum = Number.parseInt(tar.toString('latin1', 148, 154), 8);
  const summed = Buffer.from(tar.subarray(0, 512));
  summed.fill(' ', 148, 156);
  assert.equal(
    summed.reduce((total, byte) => total + byte, 0),
    sum,
  );
  read(386, 4);
  let at = 512;
  for (let more = tar[482] === 1; more; at += 512) {
    read(at, 21);
    more = tar[at + 504] === 1;
  }
  const start = at;
  const extents = rows.map(({ at: offset, length }) => {
    const bytes = Uint8Array.from(tar.subarray(at, at + length));
    at += length;
    return { at: offset, bytes };
  });
  assert.equal(number(124), at - start);
  assert.deepEqual(rows.at(-1), { at: number(483), length: 0 });
  return {
    name: tar.toString('latin1', 0, 100).replace(/\0+$/, ''),
    file: sparseFile(number(483), extents),
    rest: tar.subarray(at),
  };
}

test('every sparse file comes back, whatever its size and the number of its pieces', () => {
  const pieces = fc.array(fc.tuple(fc.nat(4), fc.integer({ min: 1, max: 3 })), { maxLength: 60 });
  fc.assert(
    fc.property(pieces, fc.integer({ min: 1, max: 2040 }), (gaps, gibibytes) => {
      let free = 0;
      const extents = gaps.map(([gap, length], index) => {
        const at = free + gap * 512;
        free = at + length * 512;
        return { at, bytes: new Uint8Array(length * 512).fill(index + 1) };
      });
      const file = sparseFile(gibibytes * 2 ** 30, extents);
      const tar = Buffer.concat([...sparseTar(file)]);
      assert.equal(tar.length % 10_240, 0);
      const found = readSparse(tar);
      assert.equal(found.name, 'disk.raw');
      assert.deepEqual(found.file, file);
      assert.ok(found.rest.length >= 1024 && found.rest.every((byte) => byte === 0));
    }),
  );
});

test('any pieces come back from the gzip stream, and the stream depends on nothing else', () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 100_000 }), { maxLength: 4 });
  fc.assert(
    fc.property(pieces, (given) => {
      const stream = Buffer.concat([...storedGzip(given)]);
      assert.ok(gunzipSync(stream).equals(Buffer.concat(given)));
    }),
    { numRuns: 50 },
  );
  const large = [new Uint8Array(65_535).fill(1), new Uint8Array(65_536).fill(2), new Uint8Array()];
  const stream = Buffer.concat([...storedGzip(large)]);
  assert.equal(stream.length, 10 + 131_071 + 4 * 5 + 8); // three blocks and the empty last one
  assert.ok(gunzipSync(stream).equals(Buffer.concat(large)));
});

test('a gzip stream with a flipped bit does not unpack', () => {
  const stream = Buffer.concat([...storedGzip([Buffer.alloc(1000, 'x')])]);
  for (const at of [500, stream.length - 8, stream.length - 1]) {
    const flipped = Buffer.from(stream);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    assert.throws(() => gunzipSync(flipped), { code: 'Z_DATA_ERROR' });
  }
});
