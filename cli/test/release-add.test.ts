/** `enclaim release add`: of a manifest only the bytes that a build writes are logged. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { formatManifest, projectRoot } from '@enclaim/image';
import { SAMPLE } from '../../image/test/manifest.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-cli-release-add-'));
after(() => rm(scratch, { recursive: true, force: true }));

function release(command: string, ...args: string[]): { status: number | null; stderr: string } {
  const words = [join(projectRoot, 'cli/src/main.ts'), 'release', command, '--log', 'log', '--key', 'log.pem', ...args];
  return spawnSync(process.execPath, words, { cwd: scratch, encoding: 'utf8' });
}

before(async () => {
  const { privateKey } = generateKeyPairSync('ed25519');
  await writeFile(join(scratch, 'log.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
  assert.equal(release('init', '--origin', 'example.com/releases').status, 0);
});

const text = formatManifest(SAMPLE);
const OTHER: readonly [string, string][] = [
  ['a field twice', text.replace('"tpm": {', `"tpm": {\n"uki": "sha256:${'ee'.repeat(32)}",`)],
  ['other white space', JSON.stringify(SAMPLE)],
  ['bytes after its end', `${text}\n`],
];
for (const [name, other] of OTHER) {
  test(`a manifest with ${name} is refused, and nothing is written`, async () => {
    await writeFile(join(scratch, 'manifest.json'), other);
    const [checkpoint, files] = [await readFile(join(scratch, 'log/checkpoint')), await readdir(scratch)];
    const { status, stderr } = release('add', 'manifest.json');
    assert.equal(status, 2, stderr);
    assert.match(stderr, /not as a build writes a manifest/);
    assert.deepEqual([await readFile(join(scratch, 'log/checkpoint')), await readdir(scratch)], [checkpoint, files]);
  });
}

test('(control) a manifest as a build writes it is added', async () => {
  await writeFile(join(scratch, 'manifest.json'), text);
  assert.equal(release('add', 'manifest.json').status, 0);
});
