/** An image folder is replaced whole or not at all, and no other folder ever is. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { needs } from '../../test/support/machine-needs.ts';
import type { Image } from '../src/build/build.ts';
import { formatManifest, parseManifest } from '../src/describe/manifest.ts';
import { ImageError } from '../src/errors.ts';
import { writeImage } from '../src/publish/image-folder.ts';
import { SAMPLE } from './manifest.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-folder-'));
after(() => rm(scratch, { recursive: true, force: true }));

const image: Image = {
  uki: Buffer.from('uki'),
  kernel: Buffer.from('kernel'),
  initrd: Buffer.from('initrd'),
  manifest: SAMPLE,
};
const refused = (error: unknown): boolean => error instanceof ImageError && error.code === 'output-failed';

test('an image is written whole, replaces an older one and leaves nothing beside it', async () => {
  const folder = join(scratch, 'one/image');
  await writeImage({ ...image, uki: Buffer.from('older') }, folder);
  await writeFile(join(folder, 'stray'), '');
  await writeImage(image, folder);
  const documents = ['manifest.json', 'provenance.json', 'sbom.cdx.json', 'sbom.spdx.json'];
  assert.deepEqual((await readdir(folder)).sort(), ['enclaim.efi', 'initrd.zst', ...documents, 'vmlinuz']);
  assert.equal(await readFile(join(folder, 'enclaim.efi'), 'utf8'), 'uki');
  assert.deepEqual(parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8')), SAMPLE);
  assert.deepEqual(await readdir(join(scratch, 'one')), ['image']);
});

test('a folder that is no image is never replaced', async () => {
  const folder = join(scratch, 'home');
  await mkdir(folder);
  await writeFile(join(folder, 'letter'), 'dear');
  await assert.rejects(writeImage(image, folder), refused);
  assert.equal(await readFile(join(folder, 'letter'), 'utf8'), 'dear');
  await assert.rejects(writeImage(image, join(folder, 'letter')), refused);
});

test('two writers at once: at least one succeeds, and what is there is whole', async () => {
  const folder = join(scratch, 'two/image');
  for (let round = 0; round < 10; round++) {
    const results = await Promise.allSettled([1, 2, 3].map(() => writeImage(image, folder)));
    assert.ok(results.some(({ status }) => status === 'fulfilled'));
    for (const result of results) assert.ok(result.status === 'fulfilled' || refused(result.reason));
    assert.equal(await readFile(join(folder, 'manifest.json'), 'utf8'), formatManifest(SAMPLE));
    assert.deepEqual(await readdir(join(scratch, 'two')), ['image']);
  }
});

test('what a killed build left behind goes with the next one; what a live one works on stays', async () => {
  const folder = join(scratch, 'three/image');
  const [dead, live] = ['.image.4194303.0badf00d.tmp', `.image.${process.pid}.0badf00d.tmp`];
  for (const name of [dead, live]) await mkdir(join(scratch, 'three', name), { recursive: true });
  await writeImage(image, folder);
  assert.deepEqual((await readdir(join(scratch, 'three'))).sort(), [live, 'image']);
});

test('a disk that is full: a typed error, and what was there before stays whole', needs('user namespaces'), () => {
  const program = `
    const { writeImage } = await import(process.env.MODULE);
    const { SAMPLE } = await import(process.env.SAMPLE);
    const { readdirSync, readFileSync } = await import('node:fs');
    const image = (size) => ({ uki: Buffer.alloc(size, 1), kernel: Buffer.alloc(9), initrd: Buffer.alloc(9), manifest: SAMPLE });
    await writeImage(image(10), '/mnt/image');
    const error = await writeImage(image(1 << 20), '/mnt/image').catch((error) => error);
    console.log(JSON.stringify([error.code, readFileSync('/mnt/image/enclaim.efi').length, readdirSync('/mnt')]));`;
  const script = 'mount -t tmpfs -o size=256k none /mnt && exec "$@"';
  const node = [process.execPath, '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', ...node], {
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH ?? '',
      MODULE: join(import.meta.dirname, '../src/publish/image-folder.ts'),
      SAMPLE: join(import.meta.dirname, 'manifest.ts'),
    },
  });
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), ['output-failed', 10, ['image']]);
});
