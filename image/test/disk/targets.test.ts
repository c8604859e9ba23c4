/** A disk is written for each target as it imports it, or nothing is left behind. */

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { encodeBundle } from '@enclaim/attestation/bundle';
import { sparseTar } from '../../src/disk/archive.ts';
import { makeDisk } from '../../src/disk/disk.ts';
import type { SparseFile } from '../../src/disk/sparse.ts';
import { writeDisk } from '../../src/disk/targets.ts';
import { fixedVhd } from '../../src/disk/vhd.ts';
import { tinyPe } from '../tiny-pe.ts';

const folder = await mkdtemp(join(tmpdir(), 'enclaim-disk-'));
after(() => rm(folder, { recursive: true }));

const bundle = encodeBundle({ policy: Buffer.from('{}'), descriptors: new Uint8Array(), handlers: Buffer.from('x') });
const disk = makeDisk({ uki: tinyPe(), bundle, gibibytes: 1 });
/** Everything that a file holds beside holes: its extents, and no more blocks than those need. */
async function assertHolds(path: string, { size, extents }: SparseFile): Promise<void> {
  await using file = await open(path);
  const stat = await file.stat();
  assert.equal(stat.size, size);
  for (const { at, bytes } of extents) {
    const { buffer } = await file.read(Buffer.alloc(bytes.length), 0, bytes.length, at);
    assert.ok(buffer.equals(bytes), `extent at ${at}`);
  }
  const needed = extents.reduce((sum, { bytes }) => sum + bytes.length + 2 * 4096, 0);
  assert.ok(stat.blocks * 512 <= needed, `${stat.blocks} blocks`);
}

for (const [target, file] of [
  ['qemu', disk],
  ['aws', disk],
  ['azure', fixedVhd(disk, Buffer.from(disk.table.id))],
] as const) {
  test(`${target}: the disk with holes where it is zero, in place of an older file`, async () => {
    const path = join(folder, target);
    await writeFile(path, 'older');
    await writeDisk(disk, target, path);
    await assertHolds(path, file);
  });
}

test('gcp: the disk in a tar file in a gzip stream', async () => {
  const path = join(folder, 'gcp');
  await writeDisk(disk, 'gcp', path);
  assert.ok(gunzipSync(await readFile(path)).equals(Buffer.concat([...sparseTar(disk)])));
});

test('what cannot be written leaves nothing behind', async () => {
  const before = (await readdir(folder)).sort();
  await mkdir(join(folder, 'taken/full'), { recursive: true });
  for (const path of ['none/x', 'taken', 'qemu/x']) {
    await assert.rejects(writeDisk(disk, 'gcp', join(folder, path)), { name: 'ImageError', code: 'output-failed' });
  }
  assert.deepEqual((await readdir(folder)).sort(), [...before, 'taken'].sort());
});
