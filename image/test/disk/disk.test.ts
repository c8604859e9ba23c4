/**
 * A disk holds UKI, bundle and empty state where its table says, and equal inputs make equal
 * disks.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { encodeBundle, parseBundle } from '@enclaim/attestation/bundle';
import { utf8 } from '@enclaim/attestation/bytes';
import { type DiskImage, derivedGuid, makeDisk, PARTITIONS } from '../../src/disk/disk.ts';
import { sparseFile } from '../../src/disk/sparse.ts';
import { TINY, tinyPe } from '../tiny-pe.ts';
import { bytesAt } from './sparse-bytes.ts';

const bundleOf = (handlers: string): Uint8Array =>
  encodeBundle({ policy: utf8('{}'), descriptors: new Uint8Array(), handlers: utf8(handlers) });
const CONTENT = { uki: tinyPe(), bundle: bundleOf('x') };

const ids = ({ table, extents }: DiskImage): string[] => [
  table.id,
  ...table.partitions.map(({ id }) => id),
  bytesAt({ extents }, 2048 * 512 + 67, 4).toString('hex'), // volume serial number
];

test('three partitions, on whole mebibytes, to the last but one', () => {
  const disk = makeDisk({ ...CONTENT, gibibytes: 3 });
  assert.equal(disk.size, 3 * 2 ** 30);
  const [boot, app, state] = disk.table.partitions;
  assert.ok(boot && app && state && disk.table.partitions.length === 3);
  for (const [partition, use] of [
    [boot, 'boot'],
    [app, 'app'],
    [state, 'state'],
  ] as const) {
    assert.deepEqual([partition.name, partition.type], [PARTITIONS[use].name, PARTITIONS[use].type]);
    assert.deepEqual([partition.first % 2048, partition.sectors % 2048], [0, 0]);
  }
  assert.equal(boot.first, 2048);
  assert.equal(app.first, boot.first + boot.sectors);
  assert.equal(state.first, app.first + app.sectors);
  assert.equal(state.first + state.sectors, disk.size / 512 - 2048);
});

test('the bundle is on its partition byte for byte, and state is empty', () => {
  const bundle = bundleOf('y'.repeat(3_000_000));
  const disk = makeDisk({ ...CONTENT, bundle });
  const [, app, state] = disk.table.partitions;
  assert.ok(app && state);
  const found = bytesAt(disk, app.first * 512, bundle.length);
  assert.ok(found.equals(bundle));
  assert.equal(parseBundle(found).handlers.length, 3_000_000);
  const from = state.first * 512;
  const written = disk.extents.filter(({ at, bytes }) => at + bytes.length > from && at < from + state.sectors * 512);
  assert.deepEqual(written, []);
});

test('equal inputs make equal disks; whatever differs gives every id another value', () => {
  assert.deepEqual(makeDisk(CONTENT), makeDisk({ uki: tinyPe(), bundle: bundleOf('x'), gibibytes: 2 }));
  const disks = [
    CONTENT,
    { ...CONTENT, uki: tinyPe('edoc') },
    { ...CONTENT, bundle: bundleOf('z') },
    { ...CONTENT, gibibytes: 1 },
  ].map((content) => ids(makeDisk(content)));
  const all = disks.flat();
  assert.equal(all.length, 4 * 5);
  assert.equal(new Set(all).size, all.length);
});

test('the types of partition are hashes of their names, in the form of a GUID', () => {
  for (const use of ['app', 'state'] as const) {
    assert.equal(PARTITIONS[use].type, derivedGuid('partitionType', utf8(use)));
    assert.match(PARTITIONS[use].type, /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
});

test('what could not boot is not written', () => {
  const unsound = tinyPe();
  unsound[TINY.coff] = 0;
  const { bundle, uki } = CONTENT;
  for (const [content, code] of [
    [{ uki: randomBytes(4096), bundle }, 'binary-invalid'],
    [{ uki: new Uint8Array(), bundle }, 'binary-invalid'],
    [{ uki: unsound, bundle }, 'binary-invalid'],
    [{ uki, bundle: bundle.subarray(0, -1) }, 'binary-invalid'],
    [{ uki, bundle: Buffer.concat([bundle, Buffer.alloc(512)]) }, 'binary-invalid'],
    [{ uki, bundle: new Uint8Array(4096) }, 'binary-invalid'],
    [{ ...CONTENT, gibibytes: 0 }, 'too-large'],
    [{ ...CONTENT, gibibytes: 1.5 }, 'too-large'],
    [{ ...CONTENT, gibibytes: 2041 }, 'too-large'],
  ] as const) {
    assert.throws(() => makeDisk(content), { name: 'ImageError', code });
  }
});

test('a sparse file refuses extents that overlap, leave it or lie between sectors', () => {
  const bytes = new Uint8Array(1024);
  assert.deepEqual(
    sparseFile(4096, [
      { at: 3072, bytes },
      { at: 0, bytes },
    ]).extents.map(({ at }) => at),
    [0, 3072],
  );
  for (const extents of [
    [
      { at: 0, bytes },
      { at: 512, bytes },
    ],
    [{ at: 3584, bytes }],
    [{ at: 100, bytes }],
    [{ at: 0, bytes: bytes.subarray(1) }],
  ]) {
    assert.throws(() => sparseFile(4096, extents), RangeError);
  }
});
