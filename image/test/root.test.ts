/** Every file of the root has the hash of the lock, also while the cache is written to. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { NODE_PACKAGE } from '../src/contents.ts';
import { fetchLocked } from '../src/inputs/fetch.ts';
import type { Lock } from '../src/inputs/lock.ts';
import { fileOf, unpackInputs } from '../src/inputs/unpack.ts';
import { deb, tar } from './archives.ts';

const cache = await mkdtemp(join(tmpdir(), 'enclaim-root-'));
after(() => rm(cache, { recursive: true, force: true }));

const nodeOf = (data: string): Uint8Array => gzipSync(tar([{ name: 'package/bin/node', data }]));
const library = deb([{ name: './usr/lib/a.so', data: 'library' }]);
const integrity = createHash('sha512').update(nodeOf('node')).digest();
const sha256 = createHash('sha256').update(library).digest('hex');
const lock: Lock = {
  version: 1,
  inputs: [
    {
      kind: 'deb',
      name: 'library',
      version: '1',
      suite: 'trixie',
      path: 'pool/a.deb',
      size: library.length,
      sha256,
    },
    {
      kind: 'npm',
      name: NODE_PACKAGE,
      version: '26.0.0',
      size: nodeOf('node').length,
      integrity: `sha512-${integrity.toString('base64')}`,
      sha256: createHash('sha256').update(nodeOf('node')).digest('hex'),
    },
  ],
};
await mkdir(join(cache, 'inputs'));
await writeFile(join(cache, 'inputs', sha256), library);
await writeFile(join(cache, 'inputs', createHash('sha256').update(nodeOf('node')).digest('hex')), nodeOf('node'));

test('what is unpacked has the hash of the lock, whoever wrote to the cache since it was fetched', async () => {
  const paths = await fetchLocked(lock.inputs, { cache, mirrors: [] });
  const inputs = await unpackInputs(lock, paths);
  assert.equal(Buffer.from(fileOf(inputs, NODE_PACKAGE, 'package/bin/node')).toString(), 'node');
  assert.equal(Buffer.from(fileOf(inputs, 'library', 'usr/lib/a.so')).toString(), 'library');
  for (const [name, other] of [
    [NODE_PACKAGE, nodeOf('evil')],
    ['library', deb([{ name: './usr/lib/a.so', data: 'evil!!!' }])],
  ] as const) {
    const path = paths.get(name) ?? '';
    const changed = new Map(paths).set(name, `${path}.changed`);
    await writeFile(`${path}.changed`, other);
    await assert.rejects(unpackInputs(lock, changed), { name: 'ImageError', code: 'hash-mismatch' }, name);
  }
});

test('an input that was not fetched or is gone is named', async () => {
  const gone = new Map([['library', join(cache, 'gone')]]);
  for (const paths of [new Map(), gone]) {
    await assert.rejects(unpackInputs(lock, paths), { name: 'ImageError', code: 'fetch-failed', message: /library/ });
  }
});
