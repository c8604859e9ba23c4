/** `enclaim image disk` writes the same bytes everywhere, and nothing where it cannot write all. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { bundleDigest, encodeBundle } from '@enclaim/attestation/bundle';
import { artefactOf, formatManifest, projectRoot } from '@enclaim/image';
import { SAMPLE, sampleOf } from '../../image/test/manifest.ts';
import { tinyPe } from '../../image/test/tiny-pe.ts';
import { needs } from '../../test/support/machine-needs.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-cli-disk-'));
after(() => rm(scratch, { recursive: true }));
const bundle = encodeBundle({ policy: Buffer.from('{}'), descriptors: new Uint8Array(), handlers: Buffer.from('x') });

/** A folder with `image/` and `app.enclaim`. */
async function makeFolder(name: string): Promise<string> {
  const folder = join(scratch, name);
  await mkdir(join(folder, 'image'), { recursive: true });
  const uki = artefactOf('enclaim.efi', tinyPe());
  const sample = sampleOf({ ...SAMPLE.references.tpm, id: uki.sha256 });
  const manifest = { ...sample, artefacts: { ...sample.artefacts, uki } };
  await writeFile(join(folder, 'image/manifest.json'), formatManifest(manifest));
  await writeFile(join(folder, 'image/enclaim.efi'), tinyPe());
  await writeFile(join(folder, 'app.enclaim'), bundle);
  return folder;
}

const here = await makeFolder('here');
const bad = await makeFolder('bad');
await writeFile(join(bad, 'image/enclaim.efi'), tinyPe('altered'));
// Nothing is awaited between the tests: the runner may take a pause for their end, and clear up under those to come.
const DISK = ['image', 'disk', 'app.enclaim', '--image', 'image', '--size', '1'];

function enclaim(args: readonly string[], cwd: string = here, env: NodeJS.ProcessEnv = process.env) {
  const script = [join(projectRoot, 'cli/src/main.ts'), ...args];
  return spawnSync(process.execPath, script, { cwd, env, encoding: 'utf8' });
}

// The archive for Compute Engine holds the disk of every target (image/test/disk/targets.test.ts), and no zeros to compare.
test('another folder, umask, time zone and language: the same bytes', async () => {
  const there = await makeFolder('another folder');
  const environment = { PATH: '/usr/bin:/bin', TZ: 'Pacific/Chatham', LANG: 'tr_TR.UTF-8', HOME: there };
  const first = enclaim([...DISK, '--for', 'gcp', '-o', 'disk']);
  assert.equal(first.status, 0, first.stderr);
  const before = process.umask(0o077);
  const second = enclaim([...DISK, '--for', 'gcp', '-o', 'disk'], there, environment);
  process.umask(before);
  assert.equal(second.stdout, first.stdout);
  const [a, b] = await Promise.all([here, there].map((folder) => readFile(join(folder, 'disk'))));
  assert.ok(a && b?.equals(a));
});

test('says what is on the disk, and where', () => {
  const { stdout } = enclaim([...DISK, '--for', 'qemu', '-o', 'disk']);
  const told = JSON.parse(stdout);
  assert.equal(told.size, 2 ** 30);
  assert.equal(told.bundle, bundleDigest(bundle));
  assert.equal(told.image, artefactOf('enclaim.efi', tinyPe()).sha256);
  assert.deepEqual(
    told.partitions.map(({ name, offset }: { name: string; offset: number }) => [name, offset]),
    [
      ['EFI system partition', 2 ** 20],
      ['enclaim-app', 34 * 2 ** 20],
      ['enclaim-state', 35 * 2 ** 20],
    ],
  );
  assert.deepEqual(
    told.gpt.map((text: string) => text.split(':')[0]),
    ['sha256', 'sha384'],
  );
});

test(
  'a disk that is full: a typed error, the older file whole, and nothing beside it',
  needs('user namespaces'),
  () => {
    const program = [
      process.execPath,
      join(projectRoot, 'cli/src/main.ts'),
      ...DISK,
      '--for',
      'qemu',
      '-o',
      '/mnt/disk',
    ];
    const script = `mount -t tmpfs -o size=16k none /mnt && echo older > /mnt/disk && "$@"; status=$?
    cat /mnt/disk; ls /mnt; exit $status`;
    const { status, stdout, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script, 'sh', ...program], {
      cwd: here,
      encoding: 'utf8',
    });
    assert.match(stderr, /ImageError output-failed/);
    assert.deepEqual([status, stdout], [4, 'older\ndisk\n']);
  },
);

const BAD: readonly [string, readonly string[], string, RegExp][] = [
  ['a UKI that is not the one of its manifest', [...DISK, '--for', 'gcp', '-o', 'x'], bad, /hash-mismatch/],
  ['no target', [...DISK, '-o', 'x'], here, /--for/],
  ['an unknown target', [...DISK, '--for', 'mars', '-o', 'x'], here, /Allowed choices/],
  ['a size that is no number of GiB', [...DISK, '--for', 'gcp', '--size', '1.5', '-o', 'x'], here, /usage/],
  ['a size of nothing', [...DISK, '--for', 'gcp', '--size', '0', '-o', 'x'], here, /usage/],
  ['a size that Azure does not take', [...DISK, '--for', 'gcp', '--size', '9999', '-o', 'x'], here, /too-large/],
  [
    'a bundle that is none',
    ['image', 'disk', 'image/manifest.json', '--image', 'image', '--for', 'aws', '-o', 'x'],
    here,
    /binary-invalid/,
  ],
  [
    'a bundle that is not there',
    ['image', 'disk', 'none', '--image', 'image', '--for', 'aws', '-o', 'x'],
    here,
    /usage/,
  ],
  ['a folder that is not there', [...DISK, '--for', 'gcp', '-o', 'none/x'], here, /output-failed/],
  ['nothing to run', ['run'], here, /usage/],
  ['both to run', ['run', 'app.enclaim', '--disk', 'x'], here, /usage/],
  ['a disk and a policy', ['run', '--disk', 'x', '--policy', 'sha384:00'], here, /cannot be used/],
  ['a disk that is not there', ['run', '--disk', 'none', '--print'], here, /disk-missing/],
];

for (const [name, args, folder, message] of BAD) {
  test(`${name}: a message, an exit status, nothing written`, async () => {
    const before = await readdir(folder);
    const { status, stderr } = enclaim(args, folder);
    assert.ok(status === 1 || status === 2 || status === 4, stderr);
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^ +at /m);
    assert.deepEqual(await readdir(folder), before);
  });
}
