/** A manifest comes back as it was written, and is refused in any other form. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatManifest, type Manifest, manifestJsonSchema, parseManifest } from '../src/describe/manifest.ts';
import { ImageError } from '../src/errors.ts';
import { projectRoot } from '../src/inputs/fetch.ts';
import { SAMPLE } from './manifest.ts';

test('a manifest comes back as it was written', () => {
  assert.deepEqual(parseManifest(formatManifest(SAMPLE)), SAMPLE);
  assert.equal(formatManifest(parseManifest(formatManifest(SAMPLE))), formatManifest(SAMPLE));
});

test('the published schema is that of the parser (write it anew: docs/operate/image.md, "Manifest")', () => {
  const published = readFileSync(join(projectRoot, 'image/manifest.schema.json'), 'utf8');
  assert.deepEqual(JSON.parse(published), manifestJsonSchema());
});

const CHANGES: readonly [string, (manifest: Record<string, unknown>) => void][] = [
  ['another version', (m) => Object.assign(m, { enclaim: 'image/2' })],
  ['a field too many', (m) => Object.assign(m, { extra: 1 })],
  ['a digest of another algorithm', (m) => Object.assign(m, { id: 'sha1:00' })],
  ['a file name with a path', (m) => Object.assign((m as unknown as Manifest).artefacts.uki, { file: '../uki' })],
  ['a negative size', (m) => Object.assign((m as unknown as Manifest).artefacts.uki, { size: -1 })],
  [
    'an input that no lock would hold',
    (m) => Object.assign((m as unknown as Manifest).inputs[0] ?? {}, { path: '/etc' }),
  ],
  ['no reference values', (m) => Object.assign(m, { references: {} })],
  ['another id', (m) => Object.assign(m, { id: `sha256:${'ee'.repeat(32)}` })],
  ...(
    [
      ['tpm', 'id'],
      ['tpm', 'initrd'],
      ['tpm', 'commandLine'],
      ['snp', 'id'],
      ['snp', 'kernel'],
      ['snp', 'initrd'],
      ['snp', 'commandLine'],
      ['tdx', 'id'],
      ['tdx', 'commandLine'],
    ] as const
  ).map(([platform, field]): (typeof CHANGES)[number] => [
    `a ${field} for ${platform} that is not that of the files`,
    (m) =>
      Object.assign((m as unknown as Manifest).references[platform], {
        [field]: field === 'commandLine' ? 'init=/x' : `sha256:${'ee'.repeat(32)}`,
      }),
  ]),
  [
    'a section that is not the file beside it',
    (m) => Object.assign((m as unknown as Manifest).sections[0] ?? {}, { sha256: `sha256:${'ee'.repeat(32)}` }),
  ],
  ['an empty command line', (m) => Object.assign((m as unknown as Manifest).references.tpm, { commandLine: '' })],
];

for (const [name, change] of CHANGES) {
  test(`refused: ${name}`, () => {
    const manifest = structuredClone(SAMPLE) as unknown as Record<string, unknown>;
    change(manifest);
    const text = JSON.stringify(manifest);
    assert.throws(
      () => parseManifest(text),
      (error) => error instanceof ImageError && error.code === 'manifest-invalid',
    );
  });
}

test('what is not JSON is refused', () => {
  for (const text of ['', '{', 'null', '[]']) assert.throws(() => parseManifest(text), ImageError);
});

test('a manifest that names something twice is refused: a comparison would see one of the two', () => {
  for (const part of ['inputs', 'sections', 'contents'] as const) {
    const twice = { ...SAMPLE, [part]: [...SAMPLE[part], ...SAMPLE[part]] };
    assert.throws(() => parseManifest(JSON.stringify(twice)), { name: 'ImageError', code: 'manifest-invalid' }, part);
  }
});
