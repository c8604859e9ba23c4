/**
 * A segment from the cache unpacks to exactly its bytes, and the cache keeps what was used last.
 */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { needs } from '../../test/support/machine-needs.ts';
import { packedSegment, pruneSegments } from '../src/build/segment-cache.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-segments-'));
after(() => rm(scratch, { recursive: true, force: true }));

const DAY = 24 * 60 * 60 * 1000;
let caches = 0;

/** A cache with files of the given ages in days. */
async function cacheOf(ages: Readonly<Record<string, number>>): Promise<string> {
  const cache = join(scratch, `cache${caches++}`);
  await mkdir(join(cache, 'segments'), { recursive: true });
  for (const [name, age] of Object.entries(ages)) {
    const file = join(cache, 'segments', name);
    await writeFile(file, name);
    const time = new Date(Date.now() - age * DAY);
    await utimes(file, time, time);
  }
  return cache;
}

const kept = async (cache: string): Promise<string[]> => (await readdir(join(cache, 'segments'))).sort();

test('what no build used for a month goes, and what a killed one left a day ago; the rest stays', async () => {
  const cache = await cacheOf({ old: 31, recent: 29, 'left.1.tmp': 2, 'live.2.tmp': 0 });
  await pruneSegments(cache);
  assert.deepEqual(await kept(cache), ['live.2.tmp', 'recent']);
});

test('of many, those that were used last stay', async () => {
  const ages = Object.fromEntries(
    Array.from({ length: 30 }, (_, age) => [`s${String(age).padStart(2, '0')}`, age / 2]),
  );
  const cache = await cacheOf(ages);
  await pruneSegments(cache);
  assert.deepEqual(await kept(cache), Object.keys(ages).slice(0, 24));
});

test('a segment that is used counts as new; a damaged one is packed again', async () => {
  const cache = join(scratch, 'used');
  const archive = Buffer.alloc(5000, 'enclaim');
  const packed = await packedSegment(archive, cache);
  const [name = ''] = await kept(cache);
  const file = join(cache, 'segments', name);
  await utimes(file, 0, 0);
  assert.deepEqual(await packedSegment(archive, cache), packed);
  await pruneSegments(cache);
  assert.deepEqual(await kept(cache), [name]);
  await writeFile(file, packed.with(9, 0));
  assert.deepEqual(await packedSegment(archive, cache), packed);
  assert.deepEqual(await readFile(file), packed);
});

test('a segment with something behind its frame is packed again, for Linux would unpack that too', async () => {
  const cache = join(scratch, 'behind');
  const archive = Buffer.alloc(5000, 'enclaim');
  const packed = await packedSegment(archive, cache);
  const [name = ''] = await kept(cache);
  const hidden = gzipSync('another archive');
  for (const behind of [hidden, Buffer.concat([Buffer.alloc(4), hidden]), Buffer.from('070701'), Buffer.alloc(1)]) {
    await writeFile(join(cache, 'segments', name), Buffer.concat([packed, behind]));
    assert.deepEqual(await packedSegment(archive, cache), packed);
  }
  assert.deepEqual(await readFile(join(cache, 'segments', name)), packed);
});

test('builds that pack and prune at once all get their bytes', async () => {
  const cache = join(scratch, 'many');
  const rounds = Array.from({ length: 40 }, async (_, index) => {
    const archive = Buffer.alloc(3000, `segment ${index % 30}`);
    const first = await packedSegment(archive, cache);
    await pruneSegments(cache);
    assert.deepEqual(await packedSegment(archive, cache), first);
  });
  await Promise.all(rounds);
  await pruneSegments(cache);
  assert.equal((await kept(cache)).length, 24);
  assert.equal(await pruneSegments(join(scratch, 'none')), undefined);
});

test('a disk that fills up: a typed error, and no part of a file stays in the cache', needs('user namespaces'), () => {
  const program = `
    const { packedSegment } = await import(process.env.SEGMENTS);
    const { writeWhole } = await import(process.env.FETCH);
    const { mkdirSync, readdirSync } = await import('node:fs');
    const { randomBytes } = await import('node:crypto');
    mkdirSync('/mnt/inputs');
    const codes = [];
    const bytes = randomBytes(1 << 20);
    for (const write of [() => packedSegment(bytes, '/mnt'), () => writeWhole('/mnt/inputs/x', bytes)])
      codes.push(await write().then(() => 'written', ({ code }) => code));
    console.log(JSON.stringify([codes, readdirSync('/mnt/segments'), readdirSync('/mnt/inputs')]));`;
  const script = 'mount -t tmpfs -o size=256k none /mnt && exec "$@"';
  const node = [process.execPath, '--input-type=module', '-e', program];
  const { stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', ...node], {
    encoding: 'utf8',
    env: {
      PATH: process.env.PATH ?? '',
      SEGMENTS: join(import.meta.dirname, '../src/build/segment-cache.ts'),
      FETCH: join(import.meta.dirname, '../src/inputs/fetch.ts'),
    },
  });
  assert.equal(stderr, '');
  assert.deepEqual(JSON.parse(stdout), [['output-failed', 'output-failed'], [], []]);
});
