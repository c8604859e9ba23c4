/** Columns in .proto files, as the compiler really gives them, become those of an editor. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PolicyError, readDescriptors } from '@enclaim/policy-schema';
import { placeOfDeclaration } from '../../policy-schema/src/match/descriptors.ts';
import { editorPlace } from '../src/programs/proto-columns.ts';
import { compileProtos } from '../src/programs/protos.ts';

/** What stands before a declaration on its line. */
const BEFORE = [
  '',
  '  ',
  '\t',
  '\t\t',
  ' \t',
  '/**/\t',
  '/*é*/',
  '/*é*/\t',
  '/*𝄞*/',
  '/*漢字*/',
  '/*漢*/\t',
  '/*e\u0301*/',
  '/*👩‍👩‍👧*/',
  '/*\u200b*/',
  '/*\u0001*/',
  'string first = 1; ',
] as const;
/** As an editor counts. */
const COLUMNS = BEFORE.map((before) => before.length + 1);

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'enclaim-columns-'));
});
after(() => rmSync(folder, { recursive: true }));

/** A file with a declaration on each line from the third on. */
function write(type: string): void {
  const lines = BEFORE.map((before, at) => `${before}${type} field_${at} = ${at + 10};`);
  writeFileSync(join(folder, 'a.proto'), ['syntax = "proto3";', 'message M {', ...lines, '}'].join('\n'));
}

test('of declarations', async () => {
  write('string');
  const { registry } = readDescriptors(await compileProtos(folder));
  const fields = registry.getMessage('M')?.fields.filter(({ name }) => name.startsWith('field_')) ?? [];
  const places = fields.map((field) => placeOfDeclaration(field) ?? assert.fail());
  assert.deepEqual(
    places.map((place) => editorPlace(folder, place)),
    COLUMNS.map((column, at) => ({ file: 'a.proto', line: at + 3, column })),
  );
  assert.notDeepEqual(
    places.map(({ column }) => column),
    COLUMNS,
  );
});

test('of a file that is not in the folder they stay', () => {
  const place = { file: 'enclaim/handling.proto', line: 3, column: 7 };
  assert.deepEqual(editorPlace(folder, place), place);
});

test('of errors', async () => {
  write('strang');
  await assert.rejects(
    () => compileProtos(folder),
    (error) => {
      assert(error instanceof PolicyError);
      assert.deepEqual(
        error.issues.map(({ column }) => column),
        COLUMNS,
      );
      return true;
    },
  );
});
