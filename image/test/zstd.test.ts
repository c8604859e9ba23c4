/** A frame unpacks to its bytes with any decoder, and with anything else beside it is refused. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { constants, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { ImageError } from '../src/errors.ts';
import { packZstd, unpacksTo, unpackZstd } from '../src/formats/zstd.ts';

/** Text-like data with runs of zeros, so that it is cut and full of repeat offsets on both sides of each cut. */
function sample(seed: number, length: number, zeros: number): Buffer {
  const words = Array.from({ length: 200 }, (_, i) =>
    createHash('md5')
      .update(`${seed} ${i}`)
      .digest()
      .subarray(0, 3 + (i % 9)),
  );
  const parts: Uint8Array[] = [];
  for (let size = 0, i = seed; size < length; i = (i * 48271 + 11) % 2147483647) {
    const part = i % 97 === 0 ? Buffer.alloc(zeros) : (words[i % words.length] ?? new Uint8Array());
    parts.push(part);
    size += part.length;
  }
  return Buffer.concat(parts);
}

test('what is packed in parts is one frame that any decoder unpacks', async () => {
  for (const level of [1, 3, 9, 19]) {
    for (const [seed, length, zeros] of [
      [1, 600_000, 40],
      [2, 3_000_000, 17],
      [3, 1_000_000, 300_000],
    ] as const) {
      const bytes = sample(seed, length, zeros);
      const frame = await packZstd(bytes, level);
      assert.ok(zstdDecompressSync(frame).equals(bytes));
      assert.deepEqual([...frame.subarray(0, 5)], [0x28, 0xb5, 0x2f, 0xfd, 0x80], 'it was cut');
    }
  }
});

test('small, empty, all-zero and uncuttable inputs', async () => {
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.from('x'),
    Buffer.alloc(1_000_000),
    sample(4, 100_000, 3),
    Buffer.alloc(70),
  ]) {
    assert.ok(zstdDecompressSync(await packZstd(bytes, 3)).equals(bytes));
  }
});

test('any input comes back', async () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.nat(60).map((length) => new Uint8Array(length)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 30 }), async (pieces) => {
      const bytes = Buffer.concat(pieces);
      assert.ok(await unpacksTo(await packZstd(bytes, 3), bytes));
    }),
    { numRuns: count(300, 300, 30) },
  );
});

test('a frame that unpacks to something else, more or nothing is told apart', async () => {
  const bytes = sample(5, 200_000, 40);
  const frame = await packZstd(bytes, 3);
  assert.ok(await unpacksTo(frame, bytes));
  assert.ok(!(await unpacksTo(frame, bytes.subarray(1))));
  assert.ok(!(await unpacksTo(frame, bytes.subarray(0, -1))));
  assert.ok(!(await unpacksTo(frame.subarray(0, -5), bytes)));
  assert.ok(!(await unpacksTo(new Uint8Array(), bytes)));
});

test('a frame with anything behind it does not unpack to its bytes', async () => {
  const bytes = sample(6, 200_000, 40);
  const frame = await packZstd(bytes, 3);
  const skippable = Buffer.from('502a4d1804000000abababab', 'hex');
  const empty = zstdCompressSync(Buffer.alloc(0));
  for (const behind of [gzipSync('hidden'), Buffer.alloc(1), Buffer.from('070701'), skippable, empty]) {
    assert.ok(!(await unpacksTo(Buffer.concat([frame, behind]), bytes)));
  }
});

test('frames with any header, one after the other, unpack; with anything else among them they are refused', async () => {
  const bytes = sample(7, 70_000, 40);
  const headers = [
    {},
    { [constants.ZSTD_c_checksumFlag]: 1 },
    { [constants.ZSTD_c_contentSizeFlag]: 0 },
    { [constants.ZSTD_c_windowLog]: 10 },
  ];
  const frames = headers.flatMap((params) =>
    [0, 1, 255, 256, 300, 65_792, bytes.length].map((length) =>
      zstdCompressSync(bytes.subarray(0, length), { params, pledgedSrcSize: length }),
    ),
  );
  const unpacked = Buffer.concat(frames.map((frame) => zstdDecompressSync(frame)));
  assert.ok((await unpackZstd(Buffer.concat(frames), unpacked.length)).equals(unpacked));
  const refused = { name: 'ImageError', code: 'archive-invalid' };
  for (const frame of frames) {
    await assert.rejects(unpackZstd(Buffer.concat([frame, gzipSync('x'), frame]), unpacked.length), refused);
    await assert.rejects(unpackZstd(frame.subarray(0, -1), unpacked.length), refused);
  }
  await assert.rejects(unpackZstd(Buffer.concat(frames), unpacked.length - 1), refused);
});

test('any bytes unpack or are refused', async () => {
  const some = zstdCompressSync(sample(8, 5000, 40));
  const damaged = fc.tuple(fc.nat(some.length - 1), fc.nat(255)).map(([at, byte]) => some.with(at, byte));
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 40 }), damaged), async (bytes) => {
      const found = await unpackZstd(bytes, 10_000).catch((error: unknown) => error);
      assert.ok(found instanceof Uint8Array || found instanceof ImageError, String(found));
    }),
    { numRuns: count(500, 500, 50) },
  );
});
