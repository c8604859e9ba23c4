/** What a release takes of requests and records: single values that are there, and nothing that a record inherits. */

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import type { Release } from '../src/admission/release-plan.ts';
import { build } from '../src/egress/release.ts';
import { RefusalError } from '../src/errors.ts';
import type { Json } from '../src/worker/json-text.ts';

const PROTO = `syntax = "proto3"; package t;
  message M {
    string text = 1; int64 large = 2; bool flag = 3; bytes raw = 4; Kind kind = 5; M inner = 6;
    repeated string list = 7; map<string, string> map = 8; oneof one { string left = 9; string right = 10; }
    optional string maybe = 11; double number = 12;
  }
  enum Kind { NONE = 0; SOME = 1; }`;
const folder = await mkdtemp(join(tmpdir(), 'enclaim-release-'));
await writeFile(join(folder, 't.proto'), PROTO);
const { registry } = readDescriptors(await compileProtos(folder));
await rm(folder, { recursive: true });
const descriptor = registry.getMessage('t.M') ?? assert.fail();

/** What stands in a message built of one source, or the code of the refusal. */
function built(source: string, request: JsonValue | undefined, record: Json = null): unknown {
  const release = { rule: { id: 'r', build: { field: source } } } as unknown as Release;
  try {
    const taken = request === undefined ? undefined : { descriptor, message: fromJson(descriptor, request) };
    return build(release, taken, () => record).field;
  } catch (error) {
    assert(error instanceof RefusalError, String(error));
    return error;
  }
}

const FULL = {
  text: 'a',
  large: '9007199254740993',
  flag: true,
  raw: 'AAE=',
  kind: 'SOME',
  inner: { text: 'b', inner: { text: 'c' } },
  list: ['x'],
  map: { text: 'x' },
  right: 'r',
  maybe: '',
  number: 1.5,
};

for (const [source, expected] of [
  ['case-received', 'case-received'],
  ['', ''],
  ['$request.text', 'a'],
  ['$request.large', '9007199254740993'],
  ['$request.flag', true],
  ['$request.raw', 'AAE='],
  ['$request.kind', 1],
  ['$request.number', 1.5],
  ['$request.inner.text', 'b'],
  ['$request.inner.inner.text', 'c'],
  ['$request.right', 'r'],
  ['$request.maybe', ''],
] as const) {
  test(`${source || 'nothing'} is ${JSON.stringify(expected)}`, () => assert.equal(built(source, FULL), expected));
}

for (const [name, source, request] of [
  ['a field that was not sent', '$request.text', {}],
  ['a field at zero', '$request.number', { number: 0 }],
  ['a field of a message that was not sent', '$request.inner.text', {}],
  ['a whole message', '$request.inner', FULL],
  ['a list', '$request.list', FULL],
  ['an entry of a map', '$request.map.text', FULL],
  ['something within a value', '$request.text.length', FULL],
  ['the other part of a oneof', '$request.left', FULL],
  ['a field that there is not', '$request.other', FULL],
  ['a field of no request', '$request.text', undefined],
] as const) {
  test(`${name} is refused`, () => {
    const refused = built(source, request);
    assert(refused instanceof RefusalError);
    assert.equal(refused.message, `release r needs ${source}`);
  });
}

for (const [path, record, expected] of [
  ['a', { a: 'x' }, 'x'],
  ['a.b', { a: { b: 7 } }, 7],
  ['a', { a: false }, false],
  ['constructor', {}, undefined],
  ['constructor.name', {}, undefined],
  ['__proto__', {}, undefined],
  ['a.length', { a: 'text' }, undefined],
  ['a.0', { a: ['x'] }, undefined],
  ['a', { a: { b: 'x' } }, undefined],
  ['a', { a: null }, undefined],
  ['a', null, undefined],
  ['a', 'text', undefined],
] as const) {
  test(`${path} of the record ${JSON.stringify(record)} is ${JSON.stringify(expected) ?? 'refused'}`, () => {
    const made = built(`$record.cases.${path}`, undefined, record as Json);
    if (expected === undefined) assert(made instanceof RefusalError);
    else assert.equal(made, expected);
  });
}
