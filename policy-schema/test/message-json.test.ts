/** Whole numbers in JSON arrive exactly or not at all, in every field that can hold one. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JsonValue, toJson } from '@bufbuild/protobuf';
import { ExactJson } from '../src/admission.ts';
import { compileFiles } from './compile.ts';

const { registry } = await compileFiles({
  't.proto': `syntax = "proto3"; package t;
      import "google/protobuf/wrappers.proto"; import "google/protobuf/any.proto"; import "google/protobuf/struct.proto";
      message M {
        int64 i = 1; uint64 u = 2; sint64 s = 3; fixed64 f = 4; sfixed64 sf = 5; int32 small = 6; double d = 7; float fl = 8;
        string text = 9; repeated int64 list = 10; map<string, int64> map = 11; map<int64, string> keys = 12; M inner = 13;
        google.protobuf.Int64Value wrapped = 14; google.protobuf.Any any = 15; google.protobuf.Struct struct = 16;
        google.protobuf.Value value = 17; oneof one { uint64 picked = 18; } map<string, M> maps = 19; int64 long_name = 20;
        google.protobuf.DoubleValue double = 21; repeated google.protobuf.UInt64Value wraps = 22;
      }`,
});
const descriptor = registry.getMessage('t.M') ?? assert.fail();

function read(text: string): JsonValue {
  return toJson(descriptor, ExactJson.parse(text).toMessage(descriptor, { registry }), { registry });
}

const ODD = '9007199254740993';
const LEAST = '-9223372036854775808';
const any = (inner: string): string => `{"any":{"@type":"type.googleapis.com/${inner}}}`;

/** Where a whole number can stand, and how it comes back. */
const PLACES: readonly (readonly [json: (number: string) => string, back?: (number: string) => string])[] = [
  ...['i', 's', 'sf', 'longName', 'long_name'].map(
    (name) =>
      [
        (number: string) => `{"${name}":${number}}`,
        (number: string) => `{"${name === 'long_name' ? 'longName' : name}":"${number}"}`,
      ] as const,
  ),
  [(number) => `{"list":[1,${number}]}`, (number) => `{"list":["1","${number}"]}`],
  [(number) => `{"map":{"a":${number}}}`, (number) => `{"map":{"a":"${number}"}}`],
  [(number) => `{"inner":{"inner":{"i":${number}}}}`, (number) => `{"inner":{"inner":{"i":"${number}"}}}`],
  [(number) => `{"maps":{"a":{"i":${number}}}}`, (number) => `{"maps":{"a":{"i":"${number}"}}}`],
  [(number) => `{"wrapped":${number}}`, (number) => `{"wrapped":"${number}"}`],
  [(number) => any(`t.M","i":${number}`), (number) => any(`t.M","i":"${number}"`)],
  [
    (number) => any(`google.protobuf.Int64Value","value":${number}`),
    (number) => any(`google.protobuf.Int64Value","value":"${number}"`),
  ],
];

test('a whole number is taken as it is written', () => {
  for (const number of [ODD, `-${ODD}`, LEAST, '9223372036854775807']) {
    for (const [json, back = json] of PLACES)
      assert.deepEqual(read(json(number)), JSON.parse(back(number)), json(number));
  }
  assert.deepEqual(read('{"u":18446744073709551615,"picked":18446744073709551615,"wraps":[18446744073709551615]}'), {
    u: '18446744073709551615',
    picked: '18446744073709551615',
    wraps: ['18446744073709551615'],
  });
  assert.deepEqual(read(`{"i":7,"small":-7,"list":["${ODD}",1.0,1e3]}`), {
    i: '7',
    small: -7,
    list: [ODD, '1', '1000'],
  });
});

test('what is no whole number of its type is refused', () => {
  for (const json of [
    '{"i":9223372036854775808}',
    '{"u":18446744073709551616}',
    '{"u":-9007199254740993}',
    '{"i":9007199254740993.5}',
    '{"i":9.007199254740993e15}',
    '{"i":1.00000000000000000001}',
    '{"i":1e-400}',
    '{"small":9007199254740993}',
    '{"small":1.00000000000000000001}',
    `{"list":[1e300]}`,
    any('t.M","i":9007199254740993.5'),
  ]) {
    assert.throws(() => read(json), Error, json);
  }
});

test('a number of a field of doubles, or of none, is a double', () => {
  assert.deepEqual(read(`{"d":${ODD},"double":${ODD}}`), {
    d: 9007199254740992,
    double: 9007199254740992,
  });
  assert.deepEqual(read(`{"struct":{"a":[${ODD},{"__proto__":${ODD}}]},"value":${ODD}}`), {
    struct: { a: [9007199254740992, JSON.parse('{"__proto__":9007199254740992}')] },
    value: 9007199254740992,
  });
});

test('what JavaScript has rounded before is refused where it would be a whole number', () => {
  const made = (json: JsonValue): unknown => new ExactJson(json).toMessage(descriptor, { registry });
  const rounded = Number(ODD);
  for (const json of [
    { i: rounded },
    { list: [rounded] },
    { map: { a: rounded } },
    { inner: { u: rounded } },
    { wrapped: rounded },
  ])
    assert.throws(() => made(json), /beyond 2\^53/);
  for (const json of [{ i: Number.MAX_SAFE_INTEGER }, { i: ODD }, { d: rounded }, { struct: { a: rounded } }])
    made(json);
});
