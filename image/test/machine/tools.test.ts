/** A missing program is named, and an unpacked folder counts only as the lock has it. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fetchLocked } from '../../src/inputs/fetch.ts';
import type { LockedDeb } from '../../src/inputs/lock.ts';
import { debianRelease, readMachineLock } from '../../src/inputs/machine-lock.ts';
import { findTools, treeOfFolder, treeOfPackages, unpackPackages } from '../../src/machine/tools.ts';
import { digestOfTree, keyOf, UNPACKED } from '../../src/machine/unpacked.ts';
import { deb } from '../archives.ts';

const PROGRAMS = ['swtpm', 'swtpm_setup', 'swtpm_localca', 'setpriv', 'certtool'];

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'enclaim-tools-'));
});
after(() => rm(folder, { recursive: true }));

test('an empty path names what is missing', async () => {
  await assert.rejects(findTools({ path: '' }), {
    name: 'MachineError',
    code: 'tool-missing',
    message: /swtpm.*scripts\/setup/,
  });
});

for (const missing of PROGRAMS) {
  test(`without ${missing}, it is named`, async () => {
    const path = join(folder, missing);
    await mkdir(path);
    for (const name of PROGRAMS) if (name !== missing) await symlink('/bin/true', join(path, name));
    await assert.rejects(findTools({ path }), { code: 'tool-missing', message: new RegExp(`^${missing} `) });
  });
}

test('a file that is no program does not count', async () => {
  const path = join(folder, 'plain');
  await mkdir(path);
  for (const name of PROGRAMS) await writeFile(join(path, name), '', { mode: 0o644 });
  await assert.rejects(findTools({ path: `${path}:relative::` }), { code: 'tool-missing' });
});

/** A cache with two packages, and what locks them. */
async function cacheOf(name: string): Promise<{ cache: string; inputs: LockedDeb[] }> {
  const cache = join(folder, name);
  await mkdir(join(cache, 'inputs'), { recursive: true });
  const packages = [
    deb([
      { name: './usr/', type: '5', mode: 0o755 },
      { name: './usr/bin/', type: '5', mode: 0o755 },
      { name: './usr/bin/qemu', data: 'qemu', mode: 0o755 },
      { name: './usr/bin/kvm', type: '2', link: 'qemu' },
      { name: './usr/bin/absolute', type: '2', link: '/usr/share/rom' },
    ]),
    deb([{ name: './usr/share/rom', data: 'rom' }]),
  ];
  const inputs = packages.map((bytes, index): LockedDeb => {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return { kind: 'deb', name: `p${index}`, version: '1', suite: 'a', path: 'pool/p.deb', size: bytes.length, sha256 };
  });
  for (const [index, { sha256 }] of inputs.entries())
    await writeFile(join(cache, 'inputs', sha256), packages[index] ?? '');
  return { cache, inputs };
}

test('packages are unpacked once, also by several at once, and found again', async () => {
  const { cache, inputs } = await cacheOf('unpacked');
  const unpack = (): Promise<string> => unpackPackages(inputs, { cache, mirrors: [] });
  const [first = '', ...others] = await Promise.all([unpack(), unpack(), unpack()]);
  for (const other of [...others, await unpack()]) assert.equal(other, first);
  assert.equal(await readFile(join(first, 'usr/bin/kvm'), 'utf8'), 'qemu');
  assert.equal(await readFile(join(first, 'usr/bin/absolute'), 'utf8'), 'rom');
});

const CHANGES: Readonly<Record<string, (at: string) => Promise<void>>> = {
  'another program': (at) => writeFile(join(at, 'usr/bin/qemu'), 'evil'),
  'another mode': (at) => chmod(join(at, 'usr/bin/qemu'), 0o777),
  'a file more': (at) => writeFile(join(at, 'usr/share/module.so'), 'evil'),
  'a file less': (at) => rm(join(at, 'usr/share/rom')),
  'another link': async (at) => {
    await rm(join(at, 'usr/bin/kvm'));
    await symlink('/bin/true', join(at, 'usr/bin/kvm'));
  },
  'a link in place of a file': async (at) => {
    await rm(join(at, 'usr/bin/qemu'));
    await symlink('/bin/true', join(at, 'usr/bin/qemu'));
  },
  'a link in place of a folder': async (at) => {
    await rm(join(at, 'usr/bin'), { recursive: true });
    await symlink('/bin', join(at, 'usr/bin'));
  },
  nothing: (at) => rm(join(at, 'usr'), { recursive: true }),
};

for (const [name, change] of Object.entries(CHANGES)) {
  test(`an unpacked folder with ${name} in it is refused, also where a hash is known`, async () => {
    const { cache, inputs } = await cacheOf(name);
    const options = { cache, mirrors: [] };
    const at = await unpackPackages(inputs, options);
    const known = { [keyOf(inputs)]: digestOfTree(await treeOfFolder(at)) };
    await change(at);
    const refused = { name: 'ImageError', code: 'hash-mismatch', message: new RegExp(`remove ${at}`) };
    await assert.rejects(unpackPackages(inputs, options), refused);
    await assert.rejects(unpackPackages(inputs, options, known), refused);
    // The hash is what decides: an attacker who could write it could let anything in.
    const other = { [keyOf(inputs)]: digestOfTree(await treeOfFolder(at)) };
    assert.equal(await unpackPackages(inputs, options, other), at);
  });
}

test('the packages of this Debian release unpack to what their hash says without unpacking them', async (t) => {
  const locked = await readMachineLock();
  const own = locked[await debianRelease()];
  if (own === undefined) return t.skip('not run: the lock has no packages for this system');
  const inputs = [...(locked.any ?? []), ...own];
  assert.equal(digestOfTree(await treeOfPackages(inputs, await fetchLocked(inputs))), UNPACKED[keyOf(inputs)]);
});

test('each release in the lock has a hash, and no other', async () => {
  const { any = [], tests: _, ...releases } = await readMachineLock();
  const keys = Object.values(releases).map((own) => keyOf([...any, ...own]));
  assert.deepEqual(Object.keys(UNPACKED).sort(), keys.sort());
});
