/** The firmware is the locked build or none, also while its cache is written to. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ImageError } from '../src/errors.ts';
import { FIRMWARE, fetchFirmware } from '../src/inputs/firmware.ts';
import type { Lock } from '../src/inputs/lock.ts';
import { deb } from './archives.ts';

const cache = await mkdtemp(join(tmpdir(), 'enclaim-firmware-'));
after(() => rm(cache, { recursive: true, force: true }));

const packageOf = (data: string): Uint8Array => deb([{ name: `./${FIRMWARE.snp.file}`, data }]);
const locked = packageOf('firmware');
const sha256 = createHash('sha256').update(locked).digest('hex');
const { input: name } = FIRMWARE.snp;
const entry = { kind: 'deb', name, version: '1', suite: 'trixie', path: 'pool/a.deb', size: locked.length, sha256 };
const lock = { version: 1, inputs: [entry] } as Lock;
const options = { cache, mirrors: [] };
const file = join(cache, 'inputs', sha256);
await mkdir(join(cache, 'inputs'));

async function put(bytes: Uint8Array): Promise<void> {
  await writeFile(join(cache, 'next'), bytes);
  await rename(join(cache, 'next'), file);
}

async function fetched(): Promise<string> {
  return Buffer.from(await fetchFirmware('snp', lock, options)).toString();
}

test('the locked build comes from the cache; a lock without one is named', async () => {
  await put(locked);
  assert.equal(await fetched(), 'firmware');
  await assert.rejects(fetchFirmware('tdx', lock, options), { name: 'ImageError', code: 'file-missing' });
});

test('while somebody writes to the cache, the build is the locked one or none', async () => {
  const stop = new AbortController();
  const writer = (async () => {
    while (!stop.signal.aborted) for (const data of ['firmware', 'evil!!!!']) await put(packageOf(data));
  })();
  const found = new Set<string>();
  for (let round = 0; round < 500; round++) {
    const build = await fetched().catch((error: unknown) => {
      assert.ok(error instanceof ImageError, String(error));
      return error.code;
    });
    found.add(build);
  }
  stop.abort();
  await writer;
  assert.ok(!found.has('evil!!!!'), [...found].join(', '));
});
