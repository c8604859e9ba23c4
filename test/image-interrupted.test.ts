/** Builds that are killed, that run at once, or that run out of disk: a typed error, and never half an image. */

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { artefactOf } from '../image/src/build/build.ts';
import { formatManifest, parseManifest } from '../image/src/describe/manifest.ts';
import { projectRoot } from '../image/src/inputs/fetch.ts';
import { DOCUMENTS } from '../image/src/publish/provenance.ts';
import { SAMPLE } from '../image/test/manifest.ts';
import { needs } from './support/machine-needs.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-interrupted-'));
after(() => rm(scratch, { recursive: true, force: true }));
const command = [join(projectRoot, 'cli/src/main.ts'), 'image', 'build'];

/** Exit status, and what was said, of a build into `out`; killed as soon as it says `until`. */
async function build(out: string, until?: string): Promise<{ status: number | null; said: string }> {
  const child = spawn(process.execPath, [...command, '-o', out], { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
    if (until !== undefined && said.includes(until)) child.kill('SIGKILL');
  });
  const [status] = await once(child, 'close');
  return { status, said };
}

/** The folder holds one image, whole: every file as its own manifest says. */
async function wholeImage(folder: string): Promise<string> {
  const manifest = parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8'));
  for (const artefact of Object.values(manifest.artefacts)) {
    assert.deepEqual(artefactOf(artefact.file, await readFile(join(folder, artefact.file))), artefact);
  }
  for (const [name, make] of Object.entries(DOCUMENTS)) {
    assert.equal(await readFile(join(folder, name), 'utf8'), make(manifest), name);
  }
  return manifest.id;
}

test('two builds at once into one folder, and killed ones after them: one whole image, and nothing beside it', async () => {
  const [home, folder] = [join(scratch, 'shared'), join(scratch, 'shared/image')];
  const both = await Promise.all([build(folder), build(folder)]);
  assert.ok(both.some(({ status }) => status === 0));
  for (const { status, said } of both) assert.ok(status === 0 || /ImageError output-failed/.test(said), said);
  const id = await wholeImage(folder);
  assert.deepEqual(await readdir(home), ['image']);
  for (const phase of ['compiling', 'assembling']) {
    const { status, said } = await build(folder, phase);
    assert.equal(status, null, said);
    assert.equal(await wholeImage(folder), id, `killed while ${phase}`);
  }
  assert.equal((await build(folder)).status, 0);
  await wholeImage(folder);
  assert.deepEqual(await readdir(home), ['image'], 'what the killed ones left is gone');
});

test(
  'a disk that fills up while the image is written: a typed error, and nothing is left of it',
  needs('user namespaces'),
  () => {
    // A small disk that only this build sees.
    const script = 'mount -t tmpfs -o size=20m none /mnt && "$@"; status=$?; find /mnt -mindepth 1; exit $status';
    const program = [process.execPath, ...command, '-o', '/mnt/image'];
    const { status, stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', ...program], {
      encoding: 'utf8',
    });
    assert.match(stderr, /ImageError output-failed/);
    assert.deepEqual([status, stdout], [4, '']);
  },
);

test('an audit that is interrupted ends what runs for it, and leaves no folder', async () => {
  const [home, manifest] = [join(scratch, 'temporary'), join(scratch, 'manifest.json')];
  await mkdir(home);
  await writeFile(manifest, formatManifest(SAMPLE));
  for (const until of ['taking the sources', 'installing the locked packages']) {
    const words = [join(projectRoot, 'cli/src/main.ts'), 'audit', projectRoot, '--against', manifest];
    const child = spawn(process.execPath, words, {
      env: { ...process.env, TMPDIR: home },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes(until)) child.kill('SIGINT');
    });
    const [status] = await once(child, 'close');
    assert.equal(status, 130, said);
    assert.deepEqual(await readdir(home), [], `interrupted while ${until}`);
  }
});
