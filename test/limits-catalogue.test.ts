/** Each exported limit of the rooms is in docs/reference/constants.md, with the value that the code has and a meaning. */

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { limitsMarkdown } from '../scripts/limits.ts';

const root = join(import.meta.dirname, '..');

test('the page is what the sources say (write it anew: npm run generate)', () => {
  assert.equal(readFileSync(join(root, 'docs/reference/constants.md'), 'utf8'), limitsMarkdown());
});

test('no exported limit is left out, and none is without a meaning', () => {
  const rows = limitsMarkdown().match(/^\| `M(?:AX|IN)_.*$/gm) ?? [];
  const rooms = '{policy-schema,attestation,runtime,guest,client,image,cli}/src/**/*.ts';
  const declared = globSync(rooms, { cwd: root }).flatMap(
    (file) => readFileSync(join(root, file), 'utf8').match(/^export const (?:MAX|MIN)_/gm) ?? [],
  );
  assert.ok(rows.length >= 30, `${rows.length} limits`);
  assert.equal(rows.length, declared.length);
  for (const row of rows) assert.ok(!row.includes('| – |'), row);
});
