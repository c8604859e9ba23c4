/** The published JSON Schema is the grammar, and where it is less, the difference is named. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { policyJsonSchema } from '../src/index.ts';
import { SCHEMA_FILE } from '../src/read/schema.ts';
import { readSource } from '../src/read/source.ts';
import { INVALID, VALID } from './policy-table.ts';
import { documentOf } from './row.ts';

const schema = policyJsonSchema();
const validate = new Ajv2020({ strict: true, strictTypes: false, strictTuples: false, allErrors: true }).compile(
  schema,
);

/** What takes more than a pattern to see. */
const BEYOND_A_SCHEMA = new Set([
  'the prototype of all', // no value of JavaScript has such a key for a schema to see
  'a name of an object',
  'public declared',
  'two identities',
  'an empty identity',
  'epochs shorter than a minute',
  'epochs longer than a day',
  ...INVALID.map(([id]) => id).filter((id) => /^a credential in the header /.test(id)),
  'a day that does not exist',
  'two sources of identity',
  'no source of identity',
]);

test('the published schema is the grammar', () => {
  const published = readFileSync(join(import.meta.dirname, '..', SCHEMA_FILE), 'utf8');
  assert.deepEqual(JSON.parse(published), JSON.parse(JSON.stringify(schema)));
});

for (const [id, edit] of VALID) {
  test(`the schema accepts ${id}`, () => {
    assert.ok(validate(readSource(documentOf(edit)).value), JSON.stringify(validate.errors));
  });
}

for (const name of ['policy.yaml', 'policy.notify.yaml', 'policy.full.yaml']) {
  test(`the schema accepts the clinic's ${name}`, () => {
    const text = readFileSync(join(import.meta.dirname, '../../examples/clinic', name));
    assert.ok(validate(readSource(text).value), JSON.stringify(validate.errors));
  });
}

const ofShape = INVALID.filter(([, , issues = []]) =>
  issues.some((issue) => /^(?:unknown|missing|type|value) /.test(issue)),
);

for (const [id, edit] of ofShape.filter(([id]) => !BEYOND_A_SCHEMA.has(id))) {
  test(`the schema refuses ${id}`, () => assert.ok(!validate(plainOf(documentOf(edit)))));
}

test('what is beyond the schema is named one by one', () => {
  for (const id of BEYOND_A_SCHEMA) {
    const row = INVALID.find(([name]) => name === id);
    assert.ok(row && validate(plainOf(documentOf(row[1]))), id);
  }
});

test('every property has a description where its name alone does not say it, and completes', () => {
  const text = JSON.stringify(schema);
  assert.ok((text.match(/"description"/g)?.length ?? 0) > 40);
  for (const section of ['system', 'data', 'services', 'collections', 'subprocessors', 'claims'])
    assert.ok(text.includes(`"${section}"`));
});

/** The value that an editor would hold against the schema; keys that no document can have are left in. */
function plainOf(document: string | Uint8Array): unknown {
  return readSource(document).value;
}
