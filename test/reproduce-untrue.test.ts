/** A build that says of its image what its bytes do not show, or hides in them what nobody compares: refused. */

import assert from 'node:assert/strict';
import { chmod, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { readBuilt } from '../image/src/audit/rebuild.ts';
import { kernelOf } from '../image/src/build/kernel.ts';
import { appendSections } from '../image/src/build/uki.ts';
import { type Manifest, parseManifest } from '../image/src/describe/manifest.ts';
import { encodeCpio } from '../image/src/formats/cpio.ts';
import { rebuild } from '../image/src/index.ts';
import { formatLock, type LockedInput, parseLock } from '../image/src/inputs/lock.ts';
import { TINY, tinyPe } from '../image/test/tiny-pe.ts';
import { type Changes, firmware, type PretendImage, pretendImage, sourcesOf } from './reproduce/pretend-image.ts';
import { writeSources } from './reproduce/pretend-sources.ts';

const scratch = await realpath(await mkdtemp(join(tmpdir(), 'enclaim-untrue-')));
await chmod(scratch, 0o755); // the build runs as another user
after(() => rm(scratch, { recursive: true, force: true }));
const at = (name: string): string => join(scratch, name);
process.env.npm_config_cache = at('npm');
const source = at('source');

/** What an audit takes for the image of a build that leaves this one: the last step of a rebuild. */
async function taken(image: PretendImage): Promise<Manifest> {
  const folder = await mkdtemp(at('left-'));
  const { uki, kernel, initrd } = parseManifest(image.manifest).artefacts;
  const files = { 'manifest.json': image.manifest, [uki.file]: image.uki, [kernel.file]: image.kernel };
  for (const [name, content] of Object.entries({ ...files, [initrd.file]: image.initrd }))
    await writeFile(join(folder, name), content);
  return (await readBuilt(folder, { lock: parseLock(image.lock), firmware })).manifest;
}

/** Rebuilds sources whose build gives this image. */
async function rebuilt(image: PretendImage): Promise<Manifest> {
  await writeSources(source, at('npm'), sourcesOf(image));
  return (await rebuild({ source })).image.manifest;
}

test('(control) an image of which nothing untrue is said', async () => {
  const image = await pretendImage();
  for (const manifest of [await taken(image), await rebuilt(image)])
    assert.deepEqual(manifest, parseManifest(image.manifest));
});

test('a rebuild takes what its build left by these rules', async () => {
  const image = await pretendImage({ lockedKernel: 'another kernel' });
  await assert.rejects(rebuilt(image), { code: 'manifest-invalid', message: /kernel of its package/ });
});

const evil256 = `sha256:${'ee'.repeat(32)}`;
const evil384 = `sha384:${'ee'.repeat(48)}`;

/** Changes of the manifest, by the way to the field. */
const LIES: readonly [way: string, value: unknown][] = [
  ['inputs.0.version', '1.0-2'],
  ['inputs', []],
  ['contents.0.size', 1],
  ['sections.0.sha256', evil256],
  ['sections.0.size', 1],
  ['sections.0.name', '.text'],
  ['sections.1.sha256', evil256],
  ['sections.1.size', 1],
  ['sections.1.name', '.text'],
  ['sections', []],
  ['references.snp.kernel', evil256],
  ['references.snp.initrd', evil256],
  ['references.snp.id', evil256],
  ['references.snp.commandLine', 'init=/x'],
  ['references.snp.firmware.digest', evil384],
  ['references.snp.firmware.resetEip', 1],
  ['references.tdx.id', evil256],
  ['references.tdx.kernel', evil384],
  ['references.tdx.initrd', evil384],
  ['references.tdx.commandLine', 'init=/x'],
  ['references.tdx.firmware.mrtd', evil384],
  ['references.tdx.firmware.cfv', evil384],
  ['references.tdx.firmware.secureBoot.0.name', 'x'],
  ['references.tpm.sections', evil256],
];
for (const [way, value] of LIES) {
  test(`it says another ${way}`, async () => {
    const image = await pretendImage();
    const manifest = JSON.parse(image.manifest);
    const names = way.split('.');
    const last = names.pop() ?? '';
    const parent = names.reduce((at, name) => at[name], manifest);
    assert.notEqual(parent[last], value);
    parent[last] = value;
    await assert.rejects(taken({ ...image, manifest: JSON.stringify(manifest) }), { code: 'manifest-invalid' });
  });
}

test('another kernel lies beside its UKI', async () => {
  const image = await pretendImage();
  const other = await pretendImage({ kernel: 'another kernel' });
  const manifest = JSON.parse(image.manifest);
  const { kernel } = JSON.parse(other.manifest).artefacts;
  const forged = {
    ...manifest,
    artefacts: { ...manifest.artefacts, kernel },
    references: { ...manifest.references, snp: { ...manifest.references.snp, kernel: kernel.sha256 } },
    sections: manifest.sections.map((one: { name: string }) => (one.name === '.linux' ? { ...one, ...kernel } : one)),
  };
  for (const section of forged.sections) delete section.file;
  await assert.rejects(taken({ ...image, kernel: other.kernel, manifest: JSON.stringify(forged) }), {
    code: 'manifest-invalid',
    message: /kernel/,
  });
});

/** Flips a bit of a field of headers, counted from the stub's own. */
const flipped = (at: number, uki: Uint8Array): Uint8Array => {
  const bytes = Uint8Array.from(uki);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  return bytes;
};
const more = { name: '.dtb', data: Buffer.from('a device tree') };
/** Other ways to make a UKI of stub and sections: every section that is stated is in it. */
const ASSEMBLED: readonly [string, NonNullable<Changes['assemble']>][] = [
  ['a section more, behind the others', (stub, sections) => appendSections(stub, [...sections, more])],
  ['a section more, before the others', (stub, sections) => appendSections(stub, [more, ...sections])],
  ['a section in the place of another', (stub, sections) => appendSections(stub, sections.toReversed())],
  ['another stub', (_, sections) => appendSections(tinyPe('a stub that replaces the kernel'), sections)],
  [
    'bytes behind the last section',
    (stub, sections) => Buffer.concat([appendSections(stub, sections), Buffer.alloc(512, 'hidden')]),
  ],
  ['bytes behind a section', (stub, sections) => flipped(TINY.headers + 512 + 5, appendSections(stub, sections))],
  ['another entry point', (stub, sections) => flipped(TINY.optional + 16, appendSections(stub, sections))],
  ['other flags of a section', (stub, sections) => flipped(TINY.table + 40 + 39, appendSections(stub, sections))],
];
for (const [name, assemble] of ASSEMBLED) {
  test(`the UKI has ${name}`, async () => {
    const image = await pretendImage({ assemble });
    await assert.rejects(taken(image), { code: 'manifest-invalid', message: /form of the UKI/ });
  });
}

test('the kernel is not that of its package', async () => {
  const image = await pretendImage({ lockedKernel: 'another kernel' });
  await assert.rejects(taken(image), { code: 'manifest-invalid', message: /kernel of its package/ });
});

test('the lock has no kernel, or two', async () => {
  const image = await pretendImage();
  const { inputs } = parseLock(image.lock);
  const kernel = inputs.find(({ name }) => name === kernelOf(parseLock(image.lock)).input) as LockedInput;
  const others = inputs.filter((input) => input !== kernel);
  for (const made of [others, [...inputs, { ...kernel, name: `${kernel.name}-2` }]]) {
    const lock = formatLock(made);
    const manifest = JSON.stringify({ ...JSON.parse(image.manifest), inputs: parseLock(lock).inputs });
    await assert.rejects(taken({ ...image, manifest, lock }), { code: 'file-missing' });
  }
});

/** Changes of the n-th header field of an archive's first member: 0 inode, 1 mode, 2 owner, 4 links, 5 time, 12 check. */
const withField =
  (index: number, value: number) =>
  (archive: Uint8Array): Uint8Array => {
    const bytes = Buffer.from(archive);
    bytes.write(value.toString(16).padStart(8, '0'), 6 + index * 8, 'latin1');
    return bytes;
  };
const HIDDEN: readonly [string, (archive: Uint8Array) => Uint8Array][] = [
  ['an owner', withField(2, 1000)],
  ['a group', withField(3, 1000)],
  ['a time', withField(5, 1)],
  ['a number of links, with which the kernel makes hard ones', withField(4, 2)],
  ['an inode that another member has', withField(0, 2)],
  ['a device', withField(7, 8)],
  ['a number of a device', withField(9, 8)],
  ['a checksum', withField(12, 1)],
  [
    'capital digits',
    (archive) =>
      Buffer.from(
        Buffer.from(archive)
          .toString('latin1')
          .replace(/^.{110}/, (head) => head.toUpperCase()),
        'latin1',
      ),
  ],
  ['bytes between name and content', (archive) => Buffer.from(archive).fill(0x78, 110 + 5, 110 + 6)],
  ['padding between archives', (archive) => Buffer.concat([archive, Buffer.alloc(512)])],
  ['padding before an archive', (archive) => Buffer.concat([Buffer.alloc(4), archive])],
  ['an archive without an end', (archive) => archive.subarray(0, archive.length - 124)],
  ['an archive more, of nothing', (archive) => Buffer.concat([archive, encodeCpio([]).fill(0x31, 6, 14)])],
];
for (const [name, change] of HIDDEN) {
  test(`the initrd holds ${name}`, async () => {
    const image = await pretendImage({ change });
    await assert.rejects(taken(image), { code: 'manifest-invalid', message: /does not describe/ });
  });
}

test('behind the initrd stands an archive of another kind, which the kernel unpacks, too', async () => {
  const behind = gzipSync(encodeCpio([{ path: 'init', type: 'file', mode: 0o755, data: Buffer.from('evil') }]));
  for (const gap of [0, 4]) {
    const image = await pretendImage({ behind: Buffer.concat([Buffer.alloc(gap), behind]) });
    await assert.rejects(taken(image), { code: 'manifest-invalid', message: /does not describe/ });
  }
});
