/** What an auditor signs for: the bytes of a claimed manifest and of every document beside it, and not what they parse to. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parseManifest } from '../image/src/describe/manifest.ts';
import { projectRoot } from '../image/src/inputs/fetch.ts';
import { DOCUMENTS } from '../image/src/publish/provenance.ts';
import { pretendImage, sourcesOf } from './reproduce/pretend-image.ts';
import { writeSources } from './reproduce/pretend-sources.ts';

const scratch = await mkdtemp(join(tmpdir(), 'enclaim-claim-'));
await chmod(scratch, 0o755); // the build runs as another user
after(() => rm(scratch, { recursive: true, force: true }));
const at = (name: string): string => join(scratch, name);
process.env.npm_config_cache = at('npm');

const image = await pretendImage();
await writeSources(at('source'), at('npm'), sourcesOf(image));
const manifest = parseManifest(image.manifest);

/** Components that an audit names as causes; of a claimed image in which these files are others. */
async function auditWith(changes: Readonly<Record<string, string | Uint8Array | null>>): Promise<string[]> {
  const documents = Object.entries(DOCUMENTS).map(([name, make]) => [name, make(manifest)] as const);
  const { uki, kernel, initrd } = image;
  const files = {
    'enclaim.efi': uki,
    vmlinuz: kernel,
    'initrd.zst': initrd,
    ...Object.fromEntries(documents),
    ...changes,
  };
  await rm(at('claimed'), { recursive: true, force: true });
  await mkdir(at('claimed'));
  for (const [name, content] of Object.entries(files)) {
    if (content !== null) await writeFile(at(`claimed/${name}`), content);
  }
  const main = join(projectRoot, 'cli/src/main.ts');
  const args = [main, 'audit', at('source'), '--against', at('claimed/manifest.json'), '--json'];
  const { status, stdout, stderr } = await new Promise<{ status: number | null; stdout: string; stderr: string }>(
    (done) => {
      const child = execFile(process.execPath, args, (_, stdout, stderr) =>
        done({ status: child.exitCode, stdout, stderr }),
      );
    },
  );
  assert.ok(status === 0 || status === 3, stderr);
  const { ok, claims } = JSON.parse(stdout);
  assert.equal(ok, status === 0);
  const found: { component: string; because: string[] }[] = claims[0].differences;
  return found.filter(({ because }) => because.length === 0).map(({ component }) => component);
}

test('(control) the documents that the image has, or none beside the manifest: no difference', async () => {
  assert.deepEqual(await auditWith({}), []);
  assert.deepEqual(await auditWith({ 'sbom.cdx.json': null, 'sbom.spdx.json': null, 'provenance.json': null }), []);
});

const evil = `sha256:${'ee'.repeat(32)}`;
const BYTES: readonly [string, string][] = [
  [
    'a field twice, of which some readers take the first',
    image.manifest.replace('"tpm": {', `"tpm": {\n"uki": "${evil}",`),
  ],
  ['other white space', JSON.stringify(manifest)],
  ['another order of fields', JSON.stringify(Object.fromEntries(Object.entries(manifest).toReversed()), null, 2)],
  [
    'a number in another notation',
    image.manifest.replace('"version": 1', '"version": 1.0').replace(/"size": (\d+)/, '"size": $1e0'),
  ],
];
for (const [name, text] of BYTES) {
  test(`a manifest with ${name}: another one than what was rebuilt`, async () => {
    assert.notEqual(text, image.manifest);
    assert.deepEqual(parseManifest(text), manifest);
    assert.deepEqual(await auditWith({ 'manifest.json': text }), ['artefact manifest']);
  });
}

for (const name of ['sbom.cdx.json', 'sbom.spdx.json', 'provenance.json'] as const) {
  test(`another ${name} beside the manifest`, async () => {
    const text = DOCUMENTS[name](manifest).replace('name', 'Name');
    assert.notEqual(text, DOCUMENTS[name](manifest));
    assert.deepEqual(await auditWith({ [name]: text }), [`document ${name}`]);
    assert.deepEqual(await auditWith({ [name]: Uint8Array.of(0xff) }), [`document ${name}`]);
  });
}

test('a manifest of something else, with documents that fit it: only what it says is named', async () => {
  const other = { ...manifest, origins: { ...manifest.origins, tools: { node: 'v26.9.0' } } };
  const texts = Object.entries(DOCUMENTS).map(([name, make]) => [name, make(other)]);
  const causes = await auditWith(Object.fromEntries(texts));
  assert.ok(causes.includes('tool node') && causes.every((cause) => cause.startsWith('tool ')), causes.join());
});
