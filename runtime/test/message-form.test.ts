/** Values of indexed fields are alike iff a reader of proto3 JSON takes them for equal, and nothing else is searched by. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../src/errors.ts';
import { MessageForm } from '../src/message/message-form.ts';
import type { Json } from '../src/worker/json-text.ts';

const FIELDS = ['patient_id', 'raw', 'count', 'done', 'kind', 'room', 'left'];

async function formOf(text: string, fields: readonly string[] = FIELDS, collection = 'cases'): Promise<MessageForm> {
  const folder = mkdtempSync(join(tmpdir(), 'enclaim-form-'));
  writeFileSync(join(folder, 't.proto'), `syntax = "proto3"; package t; ${text}`);
  const bytes = await compileProtos(folder).finally(() => rmSync(folder, { recursive: true }));
  const { registry } = readDescriptors(bytes);
  const message = registry.getMessage('t.Case') ?? assert.fail();
  const indexes = fields.map((name) => {
    const field = message.fields.find((each) => each.name === name) ?? assert.fail(name);
    return { field, categories: ['a'] };
  });
  return new MessageForm(collection, { message, indexes }, registry);
}

const CASE = `message Case { string patient_id = 1; bytes raw = 2; int64 count = 3; bool done = 4; Kind kind = 5;
  optional string room = 6; oneof either { string left = 7; string right = 8; } string free = 9; }
  enum Kind { NONE = 0; SOME = 1; }`;
const form = await formOf(CASE);

const refused = (code: string) => (error: unknown) => error instanceof RefusalError && error.code === code;

test('a record has the values of its fields, and zeros where a field has no presence', () => {
  assert.deepEqual(form.valuesOf({}), ['', '', '0', 'false', '0', null, null]);
  assert.deepEqual(
    form.valuesOf({
      patientId: 'p',
      raw: 'AQI=',
      count: '-7',
      done: true,
      kind: 'SOME',
      room: '',
      left: 'l',
      free: 'f',
    }),
    ['p', 'AQI=', '-7', 'true', '1', '', 'l'],
  );
  assert.deepEqual(form.valuesOf({ right: 'r' }).at(-1), null);
});

for (const [field, ...ways] of [
  ['patient_id', { patientId: 'p' }, { patient_id: 'p' }],
  ['count', { count: '7' }, { count: 7 }],
  ['raw', { raw: '+/8=' }, { raw: '-_8' }],
  ['kind', { kind: 'SOME' }, { kind: 1 }],
  ['done', { done: false }, {}],
] as const)
  test(`${field} is found however it is written`, () => {
    const index = FIELDS.indexOf(field);
    const values = new Set<unknown>();
    for (const way of ways) {
      values.add(form.valuesOf(way)[index]);
      if (Object.keys(way).length > 0) {
        const search = form.searchOf(way);
        assert.deepEqual([search.index, search.label], [index, ['a']]);
        values.add(search.value);
      }
    }
    assert.equal(values.size, 1, JSON.stringify([...values]));
  });

test('texts that another reader could take for one are two', () => {
  const texts = ['', 'a', 'A', 'a\0', 'e\u0301', '\u00e9', '\ufffd', '1', '01'];
  assert.equal(new Set(texts.map((patientId) => form.valuesOf({ patientId })[0])).size, texts.length);
});

test('a record that is no such message is refused', () => {
  const others: Json[] = [
    null,
    1,
    'text',
    [],
    { born: 1 },
    { patientId: 1 },
    { count: 'x' },
    { left: 'a', right: 'b' },
  ];
  for (const record of others) assert.throws(() => form.valuesOf(record), refused('worker'), JSON.stringify(record));
});

test('a search by anything but one declared index is refused, and repeats nothing of it', () => {
  const others: Json[] = [
    ...[null, 1, 'text', [], {}, ['patientId'], { free: 'f' }, { right: 'r' }, { nothing: 1 }],
    ...[{ patientId: null }, { patientId: 1 }, { patientId: 'p', kind: 1 }, { kind: 'OTHER' }, { constructor: 'p' }],
  ];
  for (const where of others)
    assert.throws(
      () => form.searchOf(where),
      (error) => refused('grant')(error) && !/nothing|OTHER|constructor|right/.test((error as Error).message),
      JSON.stringify(where),
    );
});

test('the shape changes with all that a value depends on, and with nothing else', async () => {
  const { shape } = form;
  assert.equal((await formOf(CASE.replace('free = 9', 'other = 10'))).shape, shape);
  for (const [from, to] of [
    ['int64 count', 'uint64 count'],
    ['SOME = 1', 'SOME = 2'],
    ['string patient_id = 1', 'string patient_id = 1 [json_name = "pid"]'],
    ['optional string room', 'string room'],
  ] as const)
    assert.notEqual((await formOf(CASE.replace(from, to))).shape, shape, to);
  assert.notEqual((await formOf(CASE, FIELDS.slice(1))).shape, shape);
});
