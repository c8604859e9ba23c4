/** The transcoder takes every kind of field that it says it does, and leaves what it says it leaves. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DescMessage, fromJson, type JsonValue, ScalarType, toBinary } from '@bufbuild/protobuf';
import { survey } from '@enclaim/policy-schema/admission';
import { compileFiles } from '../../../policy-schema/test/compile.ts';
import { MAX_PARTS } from '../../src/message/part-limit.ts';
import { MAX_CATEGORIES } from '../../src/message/transcoder/category-bits.ts';
import { Transcoders } from '../../src/message/transcoder/transcoders.ts';
import type { Json } from '../../src/worker/json-text.ts';
import { Beside, Difference } from './equal.ts';
import { wildDescriptors } from './wild-descriptors.ts';

const { registry } = await wildDescriptors();
const typeOf = (name: string): DescMessage => registry.getMessage(name) ?? assert.fail(name);
const beside = (name: string): Beside => new Beside(typeOf(name), registry, new Transcoders([typeOf(name)], registry));

/** A value of each kind. */
const OF_SCALAR: Readonly<Record<ScalarType, JsonValue>> = {
  [ScalarType.DOUBLE]: 1.5,
  [ScalarType.FLOAT]: 'NaN',
  [ScalarType.INT64]: '-9223372036854775808',
  [ScalarType.UINT64]: '18446744073709551615',
  [ScalarType.INT32]: -1,
  [ScalarType.FIXED64]: '9007199254740993',
  [ScalarType.FIXED32]: 4_294_967_295,
  [ScalarType.BOOL]: true,
  [ScalarType.STRING]: 'a "word" \u0007 é 😀',
  [ScalarType.BYTES]: 'YW5u',
  [ScalarType.UINT32]: 4_294_967_295,
  [ScalarType.SFIXED32]: -2_147_483_648,
  [ScalarType.SFIXED64]: '-1',
  [ScalarType.SINT32]: -2_147_483_648,
  [ScalarType.SINT64]: '9223372036854775807',
};
const OF_MESSAGE: Readonly<Record<string, JsonValue>> = {
  Timestamp: '2026-11-30T10:00:00.123Z',
  Duration: '-1.5s',
  FieldMask: 'a,bC',
  Empty: {},
  Tree: { left: {}, more: [{ word: 'x' }], named: { b: {}, 7: { count: 1 }, a: {} } },
  Maps: { byBool: { true: { int32: 1 } } },
};

for (const name of ['Scalars', 'Maybe', 'Lists', 'Maps', 'Choices', 'Tree', 'Known']) {
  test(`every field of ${name} is taken, read and written, searched and not`, () => {
    const type = typeOf(`wild.${name}`);
    const pair = beside(`wild.${name}`);
    for (const field of type.fields) {
      const { message, scalar } = field;
      const [only] = message?.fields ?? [];
      const value =
        scalar !== undefined
          ? OF_SCALAR[scalar]
          : message === undefined
            ? 'COLOUR_BLUE'
            : (OF_MESSAGE[message.name] ?? (only?.scalar !== undefined ? OF_SCALAR[only.scalar] : undefined));
      const scalars = message?.name === 'Scalars' ? { int32: 1 } : value;
      const one = scalars ?? assert.fail(field.name);
      const key = field.fieldKind === 'map' ? (field.mapKey === ScalarType.BOOL ? 'true' : '7') : '';
      const json = { [field.jsonName]: field.fieldKind === 'list' ? [one, one] : key === '' ? one : { [key]: one } };
      const bytes = toBinary(type, fromJson(type, json, { registry }));
      for (const searched of [false, true]) {
        assert.equal(pair.read(bytes, searched), 'taken', `${field.name} read`);
        assert.equal(pair.write(json as Json, searched), 'taken', `${field.name} written`);
      }
    }
  });
}

test('a zero is taken where it is absent and where it is a value', () => {
  for (const [name, json] of [
    ['Scalars', { int32: 0, string: '', bytes: '', bool: false, double: 0, int64: '0', colour: 'COLOUR_NONE' }],
    ['Maybe', { int32: 0, string: '', bytes: '', bool: false, double: 0, int64: '0', colour: 'COLOUR_NONE' }],
    ['Scalars', {}],
  ] as const) {
    const type = typeOf(`wild.${name}`);
    assert.equal(beside(`wild.${name}`).write(json, true), 'taken');
    assert.equal(beside(`wild.${name}`).read(toBinary(type, fromJson(type, json)), true), 'taken');
  }
});

test('null is absent, and left to the reference where it is a value', () => {
  const none = { int32: null, string: null, bytes: null, colour: null };
  assert.equal(beside('wild.Scalars').write(none, true), 'taken');
  assert.equal(beside('wild.Known').write({ time: null, string: null }, true), 'taken');
  assert.equal(beside('wild.Open').write({ value: null }, true), 'left');
  assert.equal(beside('wild.Open').write({ null: null }, true), 'left');
});

test('a choice behind all other fields, as Go writes it, is taken', () => {
  assert.equal(beside('wild.Choices').read(Uint8Array.of(0x22, 1, 0x61, 0x0a, 1, 0x62), true), 'taken');
});

test('a field that comes twice, or is not declared, is left to the reference', () => {
  const pair = beside('wild.Tree');
  assert.equal(pair.read(Uint8Array.of(0x0a, 1, 0x61, 0x0a, 1, 0x62), false), 'left');
  assert.equal(pair.read(Uint8Array.of(0x12, 0, 0x12, 0), false), 'left');
  assert.equal(pair.read(Uint8Array.of(0x0a, 1, 0x61, 0x78, 0), false), 'refused');
});

test('a message of as many parts as may be is taken, one of more is not', () => {
  const pair = beside('wild.Tree');
  const parts = (count: number): Uint8Array => Buffer.alloc(2 * count, Buffer.from([0x1a, 0]));
  assert.equal(pair.read(parts(MAX_PARTS), false), 'taken');
  assert.equal(pair.read(parts(MAX_PARTS + 1), false), 'refused');
  const lists = beside('wild.Lists');
  const packed = (count: number): Uint8Array =>
    Buffer.concat([Uint8Array.of(0x1a, ...varint(count)), Buffer.alloc(count)]);
  assert.equal(lists.read(packed(MAX_PARTS - 1), false), 'taken');
  assert.equal(lists.read(packed(MAX_PARTS), false), 'refused');
});

test('a transcoder that says anything else than the reference is found', () => {
  const type = typeOf('wild.Tree');
  const right = new Transcoders([type], registry).of(type) ?? assert.fail();
  const wrong = (change: object): Beside => {
    const transcoder = {
      read: (bytes: Uint8Array, searched: boolean) => ({ ...right.read(bytes, searched), ...change }),
      write: (json: Json, searched: boolean) => ({ ...right.write(json, searched), ...change }),
    };
    return new Beside(type, registry, { of: () => transcoder } as unknown as Transcoders);
  };
  const bytes = Uint8Array.of(0x0a, 1, 0x61);
  assert.equal(wrong({}).read(bytes, true), 'taken');
  assert.equal(wrong({}).write({ word: 'a' }, true), 'taken');
  for (const change of [{ text: '{}' }, { label: new Set(['t']) }, { texts: [] }])
    assert.throws(() => wrong(change).read(bytes, true), Difference);
  for (const change of [{ bytes: new Uint8Array() }, { label: new Set(['t']) }, { texts: [] }])
    assert.throws(() => wrong(change).write({ word: 'a' }, true), Difference);
  assert.throws(() => wrong({}).read(Uint8Array.of(0x78, 0), true), Difference);
  assert.throws(() => wrong({}).write({ nobody: 1 }, true), Difference);
});

test('the label of a mask is one object, by which decisions are kept', () => {
  const transcoder = new Transcoders([typeOf('wild.Tree')], registry).of(typeOf('wild.Tree'), ['z']) ?? assert.fail();
  const label = (bytes: readonly number[]) => transcoder.read(Uint8Array.from(bytes), false)?.label ?? assert.fail();
  assert.equal(label([0x0a, 1, 0x61]), label([0x0a, 1, 0x62]));
  assert.deepEqual([...label([0x0a, 1, 0x61])].sort(), ['t', 't.count', 'z']);
  assert.notEqual(label([]), label([0x0a, 1, 0x61]));
});

test('types share categories as long as there are bits for them, and then have their own', async () => {
  const message = (name: string, from: number, to: number): string => {
    const fields = Array.from(
      { length: to - from },
      (_, i) => `string f${i} = ${i + 1} [(enclaim.data) = "c${from + i}"];`,
    );
    return `message ${name} { ${fields.join(' ')} }`;
  };
  const { registry } = await compileFiles({
    'many.proto': `syntax = "proto3"; package many; import "enclaim/handling.proto";
      ${message('First', 0, 20)} ${message('Second', 20, 40)} ${message('TooMany', 0, MAX_CATEGORIES + 1)}
      message Bare { string word = 1; }`,
  });
  const types = ['First', 'Second', 'TooMany', 'Bare'].map(
    (name) => registry.getMessage(`many.${name}`) ?? assert.fail(),
  );
  const transcoders = new Transcoders(types, registry);
  for (const type of types.slice(0, 2)) {
    const pair = new Beside(type, registry, transcoders);
    assert.equal(pair.read(Uint8Array.of(0x0a, 1, 0x61, 0x12, 1, 0x61), false), 'taken', type.typeName);
    assert.equal(survey(type).label.size, 20);
  }
  for (const type of types.slice(2)) assert.equal(transcoders.of(type), undefined, type.typeName);
});

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}
