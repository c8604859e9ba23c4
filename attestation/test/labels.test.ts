/** Every label of a hash or signature stands in one table, ends in one NUL, and is no beginning of another. */

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { utf8 } from '../src/bytes.ts';
import { LABELS, type Label, labelBytes } from '../src/labels.ts';

const root = join(import.meta.dirname, '../..');
/** Of policy-schema, which may import nothing: the digest of an interface. */
const BENEATH = ['enclaim/interface/v2'];

test('labels are what documents and evidence of before say', () => {
  assert.deepEqual(Object.values(LABELS), [
    'enclaim/boot/v1',
    'enclaim/bundle/v1',
    'enclaim/deletion/v1',
    'enclaim/deployment/v1',
    'enclaim/disk/v1',
    'enclaim/disk-guid/v1',
    'enclaim/keeper/v1',
    'enclaim/kept/v1',
    'enclaim/kept-key/v1',
    'enclaim/partition-type/v1',
    'enclaim/policy/v1',
    'enclaim/reader/v1',
    'enclaim/receipt/v3',
    'enclaim/receipts/v1',
    'enclaim/record/v2',
    'enclaim/recovery/v1',
    'enclaim/refused/v1',
    'enclaim/request/v1',
    'enclaim/response/v1',
    'enclaim/secrets/v1',
    'enclaim/simulated/v1',
    'enclaim/state-name/v1',
    'enclaim/status/v1',
    'enclaim/succession/v1',
    'enclaim/tpm/v1',
    'enclaim/vhd/v1',
  ]);
});

test('each has one NUL, at its end, so that none begins another', () => {
  for (const label of Object.keys(LABELS) as Label[]) {
    const bytes = labelBytes(label);
    assert.deepEqual([bytes.indexOf(0), bytes.at(-1)], [bytes.length - 1, 0]);
    assert.deepEqual(bytes.subarray(0, -1), utf8(LABELS[label]));
  }
  const all = [...Object.values(LABELS), ...BENEATH];
  assert.equal(new Set(all).size, all.length);
});

test('no source spells one but the table', () => {
  const spelled = globSync('{policy-schema,attestation,runtime,guest,image,client,cli}/src/**/*.ts', { cwd: root })
    .filter((path) => path !== 'attestation/src/labels.ts')
    .map((path) => readFileSync(join(root, path), 'utf8').replaceAll(/^\s*\/?\*.*$/gm, '')) // without comments
    .flatMap((text) => text.match(/['"`]enclaim\/[a-z-]+\/v\d+/g) ?? [])
    .map((found) => found.slice(1));
  assert.deepEqual(spelled, BENEATH);
});

test('one source writes the policy onto the command line that a launch measures', () => {
  const writers = globSync('{policy-schema,attestation,runtime,guest,image,client,cli}/src/**/*.ts', { cwd: root })
    .filter((path) => readFileSync(join(root, path), 'utf8').includes('enclaim.policy=$'))
    .sort();
  assert.deepEqual(writers, ['attestation/src/measure/tpm-boot.ts']);
});
