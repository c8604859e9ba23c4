/** A build that says of its image what its bytes do not show, or hides in them what nobody compares: refused. */

import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { rebuild } from '../image/src/index.ts';
import { type Manifest, parseManifest } from '../image/src/manifest.ts';
import { type PretendImage, pretendImage, sourcesOf } from './reproduce/pretend-image.ts';
import { writeSources } from './reproduce/pretend-sources.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-untrue-'));
await chmod(scratch, 0o755); // the build runs as another user
after(() => rm(scratch, { recursive: true, force: true }));
const at = (name: string): string => join(scratch, name);
process.env.npm_config_cache = at('npm');
const source = at('source');

/** Rebuilds sources whose build gives this image. */
async function rebuilt(image: PretendImage): Promise<Manifest> {
  await writeSources(source, at('npm'), sourcesOf(image));
  return (await rebuild({ source })).image.manifest;
}

test('(control) an image of which nothing untrue is said', async () => {
  const image = await pretendImage();
  assert.deepEqual(await rebuilt(image), parseManifest(image.manifest));
});

const evil256 = `sha256:${'ee'.repeat(32)}`;
const evil384 = `sha384:${'ee'.repeat(48)}`;

/** Changes of the manifest, by the way to the field. */
const LIES: readonly [way: string, value: unknown][] = [
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
    await assert.rejects(rebuilt({ ...image, manifest: JSON.stringify(manifest) }), { code: 'manifest-invalid' });
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
  await assert.rejects(rebuilt({ ...image, kernel: other.kernel, manifest: JSON.stringify(forged) }), {
    code: 'manifest-invalid',
    message: /kernel/,
  });
});
