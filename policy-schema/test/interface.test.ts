/** A pin changes with all that changes what a message means, and with nothing else. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  create,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  setExtension,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  Edition,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  FeatureSet_Utf8Validation,
  FeatureSetSchema,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorSetSchema,
  FieldDescriptorProto_Label as Label,
  MessageOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { interfaceDigest, labelOf } from '../src/admission.ts';
import { data, holds } from '../src/gen/enclaim/handling_pb.js';
import { type Descriptors, PolicyError, readDescriptors } from '../src/index.ts';
import { compileFiles } from './compile.ts';

const PAIRS = count(500, 500, 100);

const digestOf = (descriptors: Descriptors): string => {
  const method = descriptors.registry.getService('t.S')?.methods[0];
  assert.ok(method);
  return interfaceDigest(method);
};

const proto = (syntax: string, body: string): string =>
  `${syntax} package t; import "enclaim/handling.proto"; import "google/protobuf/any.proto"; import "google/protobuf/wrappers.proto";
service S { rpc M(In) returns (In); } ${body}`;
const three = (body: string): string => proto('syntax = "proto3";', body);
const two = (body: string): string => proto('syntax = "proto2";', body);
const modern = (body: string): string => proto('edition = "2023";', body);
const at = (category: string): string => `(enclaim.data) = "${category}"`;

/** Pairs of files of which each means another thing. */
const DIFFERENT: readonly (readonly [what: string, one: string, other: string])[] = [
  [
    'a oneof named none, and two fields with presence',
    three(`message In { oneof none { string a = 1 [${at('x')}]; string b = 2 [${at('x')}]; } }`),
    three(`message In { optional string a = 1 [${at('x')}]; optional string b = 2 [${at('x')}]; }`),
  ],
  [
    'a json_name',
    three(`message In { string a = 1 [${at('x')}]; }`),
    three(`message In { string a = 1 [${at('x')}, json_name = "b"]; }`),
  ],
  [
    'two json_names changed for one another',
    three(`message In { string a = 1 [${at('x')}, json_name = "c"]; string b = 2 [${at('y')}, json_name = "d"]; }`),
    three(`message In { string a = 1 [${at('x')}, json_name = "d"]; string b = 2 [${at('y')}, json_name = "c"]; }`),
  ],
  [
    'the name of a value',
    three(`enum E { A = 0; B = 1; } message In { E e = 1 [${at('x')}]; }`),
    three(`enum E { A = 0; C = 1; } message In { E e = 1 [${at('x')}]; }`),
  ],
  [
    'which of two names of a value is written',
    three(`enum E { option allow_alias = true; A = 0; B = 1; C = 1; } message In { E e = 1 [${at('x')}]; }`),
    three(`enum E { option allow_alias = true; A = 0; C = 1; B = 1; } message In { E e = 1 [${at('x')}]; }`),
  ],
  [
    'the first value of a closed enum',
    two(`enum E { A = 0; B = 1; } message In { optional E e = 1 [${at('x')}]; }`),
    two(`enum E { B = 1; A = 0; } message In { optional E e = 1 [${at('x')}]; }`),
  ],
  [
    'whether an enum is closed',
    modern(`enum E { A = 0; } message In { E e = 1 [${at('x')}]; }`),
    modern(`enum E { option features.enum_type = CLOSED; A = 0; } message In { E e = 1 [${at('x')}]; }`),
  ],
  [
    'packed or not',
    three(`message In { repeated int32 a = 1 [${at('x')}]; }`),
    three(`message In { repeated int32 a = 1 [${at('x')}, packed = false]; }`),
  ],
  [
    'a default',
    two(`message In { optional int32 a = 1 [${at('x')}, default = 1]; }`),
    two(`message In { optional int32 a = 1 [${at('x')}, default = 2]; }`),
  ],
  [
    'required',
    two(`message In { optional int32 a = 1 [${at('x')}]; }`),
    two(`message In { required int32 a = 1 [${at('x')}]; }`),
  ],
  [
    'delimited or not',
    modern(`message G { string a = 1 [${at('x')}]; } message In { G g = 1; }`),
    modern(`message G { string a = 1 [${at('x')}]; } message In { G g = 1 [features.message_encoding = DELIMITED]; }`),
  ],
  [
    'validated text or not',
    modern(`message In { string a = 1 [${at('x')}]; }`),
    modern(`message In { string a = 1 [${at('x')}, features.utf8_validation = NONE]; }`),
  ],
  [
    'the keys of a map',
    three(`message In { map<int32, string> a = 1 [${at('x')}]; }`),
    three(`message In { map<int64, string> a = 1 [${at('x')}]; }`),
  ],
  [
    'a map, and a list of its entries',
    three(`message In { map<string, string> a = 1 [${at('x')}]; }`),
    three(`message In { message AEntry { string key = 1; string value = 2; } repeated AEntry a = 1 [${at('x')}]; }`),
  ],
  [
    'text and bytes',
    three(`message In { string a = 1 [${at('x')}]; }`),
    three(`message In { bytes a = 1 [${at('x')}]; }`),
  ],
  [
    'bytes with a category of their own, and of their message alone',
    three(`message In { option (enclaim.holds) = "x"; bytes a = 1 [${at('x')}]; }`),
    three(`message In { option (enclaim.holds) = "x"; bytes a = 1; }`),
  ],
  [
    'what the message in an Any carries',
    three(`message Other { string o = 1 [${at('x')}]; } message In { google.protobuf.Any a = 1 [${at('x')}]; }`),
    three(`message Other { string o = 1 [${at('y')}]; } message In { google.protobuf.Any a = 1 [${at('x')}]; }`),
  ],
  [
    'a stream',
    three(`message In { string a = 1 [${at('x')}]; }`),
    three(`message In { string a = 1 [${at('x')}]; }`).replace('returns (In)', 'returns (stream In)'),
  ],
];

for (const [what, one, other] of DIFFERENT) {
  test(`a pin tells apart: ${what}`, async () => {
    const [a, b] = await Promise.all(
      [one, other].map(async (text) => digestOf(await compileFiles({ 't.proto': text }))),
    );
    assert.notEqual(a, b);
  });
}

/** Pairs that mean the same. */
const EQUAL: readonly (readonly [what: string, one: string, other: string])[] = [
  [
    'comments, order, reserved, the name of a oneof, what nothing uses, and defaults written out',
    three(
      `message In { oneof o { string a = 1 [${at('x')}]; string b = 2 [${at('y')}]; } In next = 3; E e = 4 [${at('x')}]; }
       enum E { A = 0; B = 1; }`,
    ),
    three(
      `enum E { A = 0; B = 1; reserved 7; }
       message Unused { string u = 1; }
       message In { reserved 9; reserved "z"; E e = 4 [${at('x')}, json_name = "e"]; In next = 3; // next
         oneof other { string b = 2 [${at('y')}]; string a = 1 [${at('x')}]; } }`,
    ),
  ],
  [
    'proto3 and an edition that says the same',
    three(
      `message In { string a = 1 [${at('x')}]; repeated int32 b = 2 [${at('x')}]; optional string c = 3 [${at('x')}]; }`,
    ),
    modern(
      `message In { string a = 1 [${at('x')}, features.field_presence = IMPLICIT]; repeated int32 b = 2 [${at('x')}]; string c = 3 [${at('x')}]; }`,
    ),
  ],
  [
    'a category of the message, and of each of its fields',
    three(`message In { option (enclaim.holds) = "x"; string a = 1; string b = 2; }`),
    three(`message In { string a = 1 [${at('x')}]; string b = 2 [${at('x')}]; }`),
  ],
];

for (const [what, one, other] of EQUAL) {
  test(`a pin does not tell apart: ${what}`, async () => {
    const [a, b] = await Promise.all(
      [one, other].map(async (text) => digestOf(await compileFiles({ 't.proto': text }))),
    );
    assert.equal(a, b);
  });
}

test('an Any carries what its field does and what the message in it does, and no type that nobody declared', async () => {
  const { registry } = await compileFiles({
    't.proto': three(`message Other { string o = 1 [${at('y')}]; bool f = 2 [${at('z')}]; }
      message In { google.protobuf.Any a = 1 [${at('x')}]; repeated google.protobuf.Any l = 2 [${at('x')}];
        map<string, google.protobuf.Any> m = 3 [${at('x')}]; }`),
  });
  const schema = registry.getMessage('t.In') ?? assert.fail();
  const label = (json: JsonValue): string[] => [...labelOf(schema, fromJson(schema, json, { registry }))].sort();
  const other = { '@type': 'type.googleapis.com/t.Other', o: 'text' };
  assert.deepEqual(label({ a: other }), ['x', 'y', 'z']);
  assert.deepEqual(label({ l: [other] }), ['x', 'y', 'z']);
  assert.deepEqual(label({ m: { k: other } }), ['x', 'y', 'z']);
  assert.deepEqual(label({ a: {} }), ['x']);
  const nested = { '@type': 'type.googleapis.com/google.protobuf.Any', value: other };
  assert.deepEqual(label({ a: nested }), ['x', 'y', 'z']);
  const plain = { '@type': 'type.googleapis.com/google.protobuf.StringValue', value: 'anything' };
  assert.deepEqual(label({ a: plain }), ['x']);
  // Bytes of an Any whose type is t.Other, and whose value is not one; and of a type that is not there.
  const any = (typeUrl: string, value: number[]): Uint8Array => {
    const inner = [0x0a, typeUrl.length, ...new TextEncoder().encode(typeUrl), 0x12, value.length, ...value];
    return Uint8Array.from([0x0a, inner.length, ...inner]);
  };
  for (const [bytes, code] of [
    [any('a/t.Other', [0xff]), 'descriptor'],
    [any('a/t.Other', [0x78, 1]), 'handling'],
    [any('a/t.Missing', []), 'handling'],
    [any('', [1]), 'handling'],
  ] as const) {
    assert.throws(
      () => labelOf(schema, bytes),
      (error) => error instanceof PolicyError && error.code === code,
    );
  }
});

/** A field of a random message, so small that two of them are often alike. */
interface Field {
  readonly name: 'a' | 'b';
  readonly json: 'c' | 'd' | undefined;
  readonly type: 'string' | 'bytes' | 'int32' | 'bool' | 'enum' | 'message';
  readonly repeated: boolean;
  readonly packed: boolean;
  readonly implicit: boolean;
  readonly delimited: boolean;
  readonly utf8: boolean;
  readonly group: boolean;
  readonly categories: readonly string[];
}

interface Model {
  readonly fields: readonly Field[];
  readonly holds: readonly string[];
  readonly closed: boolean;
  readonly values: readonly string[];
  /** What changes nothing: order, and the name of a oneof. */
  readonly turned: boolean;
  readonly oneof: string;
}

const categories = fc.subarray(['x', 'y']);
const field: fc.Arbitrary<Omit<Field, 'name'>> = fc.record({
  json: fc.constantFrom(undefined, 'c' as const, 'd' as const),
  type: fc.constantFrom('string', 'bytes', 'int32', 'bool', 'enum', 'message'),
  repeated: fc.boolean(),
  packed: fc.boolean(),
  implicit: fc.boolean(),
  delimited: fc.boolean(),
  utf8: fc.boolean(),
  group: fc.boolean(),
  categories,
});
const model: fc.Arbitrary<Model> = fc.record({
  fields: fc.tuple(field, field, fc.boolean()).map(([one, other, swap]) => [
    { ...one, name: swap ? ('b' as const) : ('a' as const) },
    { ...other, name: swap ? ('a' as const) : ('b' as const) },
  ]),
  holds: categories,
  closed: fc.boolean(),
  values: fc.constantFrom(['A', 'B'], ['A', 'C'], ['A', 'B', 'C'], ['A', 'C', 'B']),
  turned: fc.boolean(),
  oneof: fc.constantFrom('none', 'one'),
});

const TYPES = {
  string: Type.STRING,
  bytes: Type.BYTES,
  int32: Type.INT32,
  bool: Type.BOOL,
  enum: Type.ENUM,
  message: Type.MESSAGE,
} as const;

/** Descriptors of a model: a message In with fields 1 and 2 and a message within, as an edition has them. */
function built({ fields, holds: held, closed, values, turned, oneof }: Model): Descriptors {
  const grouped = fields.filter(({ group, repeated }) => group && !repeated).length > 0;
  const described = fields.map((each, i) => {
    const inGroup = each.group && !each.repeated;
    const options = create(FieldOptionsSchema, {
      features: create(FeatureSetSchema, {
        ...(each.utf8 || each.type !== 'string' ? {} : { utf8Validation: FeatureSet_Utf8Validation.NONE }),
        ...(each.delimited && each.type === 'message' ? { messageEncoding: FeatureSet_MessageEncoding.DELIMITED } : {}),
        ...(each.repeated && ['int32', 'bool', 'enum'].includes(each.type) && !each.packed
          ? { repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding.EXPANDED }
          : {}),
        ...(!each.repeated && !inGroup && each.implicit && each.type !== 'message' && !(each.type === 'enum' && closed)
          ? { fieldPresence: FeatureSet_FieldPresence.IMPLICIT }
          : {}),
      }),
    });
    setExtension(options, data, [...each.categories]);
    return create(FieldDescriptorProtoSchema, {
      name: each.name,
      number: i + 1,
      type: TYPES[each.type],
      label: each.repeated ? Label.REPEATED : Label.OPTIONAL,
      // Two fields of one JSON name are refused.
      jsonName: i === 0 || each.json !== fields[0]?.json ? (each.json ?? each.name) : each.name,
      ...(each.type === 'message' ? { typeName: '.t.Leaf' } : {}),
      ...(each.type === 'enum' ? { typeName: '.t.E' } : {}),
      ...(inGroup ? { oneofIndex: 0 } : {}),
      options,
    });
  });
  const message = (name: string, more: Partial<DescriptorProto>): DescriptorProto =>
    create(DescriptorProtoSchema, { name, ...more } as never);
  const options = create(MessageOptionsSchema);
  setExtension(options, holds, [...held]);
  const leafOptions = create(FieldOptionsSchema);
  setExtension(leafOptions, data, ['z']);
  const messages = [
    message('In', {
      field: turned ? described.toReversed() : described,
      options,
      oneofDecl: grouped ? [{ name: oneof }] : [],
    } as never),
    message('Leaf', {
      field: [
        create(FieldDescriptorProtoSchema, {
          name: 'l',
          number: 1,
          type: Type.STRING,
          label: Label.OPTIONAL,
          jsonName: 'l',
          options: leafOptions,
        }),
      ],
    }),
  ];
  const file = {
    name: 't.proto',
    package: 't',
    syntax: 'editions',
    edition: Edition.EDITION_2023,
    messageType: turned ? messages.toReversed() : messages,
    enumType: [
      {
        name: 'E',
        value: values.map((name, i) => ({ name, number: Math.min(i, 1) })),
        options: {
          allowAlias: true,
          features: { enumType: closed ? FeatureSet_EnumType.CLOSED : FeatureSet_EnumType.OPEN },
        },
      },
    ],
    service: [{ name: 'S', method: [{ name: 'M', inputType: '.t.In', outputType: '.t.In' }] }],
  };
  return readDescriptors(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [file] } as never)));
}

const PROBES: readonly Uint8Array[] = [
  [],
  ...[1, 2].flatMap((number) => [
    [(number << 3) | 0, 0],
    [(number << 3) | 0, 1],
    [(number << 3) | 0, 7],
    [(number << 3) | 0, 1, (number << 3) | 0, 1],
    [(number << 3) | 2, 0],
    [(number << 3) | 2, 1, 0xff],
    [(number << 3) | 2, 2, 1, 1],
    [(number << 3) | 2, 3, 0x0a, 1, 0x61],
    [(number << 3) | 3, 0x0a, 1, 0x61, (number << 3) | 4],
  ]),
  [0x08, 1, 0x10, 1],
  [0x0a, 1, 0x61, 0x12, 1, 0x61],
].map((bytes) => Uint8Array.from(bytes));

const JSONS: readonly JsonValue[] = ['a', 'b', 'c', 'd'].flatMap((name): JsonValue[] =>
  ['', 'A', 'B', 'C', 0, 1, false, {}, { l: 'x' }, [], [1, 1], ['B'], ['YQ==']].map((value) => ({ [name]: value })),
);

/** All that can be seen of a message: what its readers make of bytes and of JSON, and how it is labelled. */
function behaviourOf({ registry }: Descriptors): string {
  const schema: DescMessage = registry.getMessage('t.In') ?? assert.fail();
  const seen = (read: () => Message): unknown => {
    try {
      const message = read();
      const label = tried(() => [...labelOf(schema, message)].sort());
      return [toJson(schema, message), Buffer.from(toBinary(schema, message)).toString('hex'), label];
    } catch {
      return 'refused';
    }
  };
  return JSON.stringify([
    PROBES.map((bytes) => seen(() => fromBinary(schema, bytes))),
    JSONS.map((json) => seen(() => fromJson(schema, json))),
  ]);
}

function tried(get: () => unknown): unknown {
  try {
    return get();
  } catch {
    return 'refused';
  }
}

test('messages that can be told apart have different pins; order and names of oneofs make no difference', () => {
  let different = 0;
  fc.assert(
    fc.property(model, model, fc.integer({ min: 0, max: 6 }), (base, other, change) => {
      // One property of the other: a difference in one thing is what is missed, not one in everything.
      const keys = ['fields', 'holds', 'closed', 'values', 'turned', 'oneof'] as const;
      const key = keys[change] ?? 'fields';
      const near: Model = { ...base, [key]: other[key] };
      const first = base.fields[0];
      const small: Model =
        change === 6 && first
          ? { ...base, fields: [{ ...first, group: !first.group }, ...base.fields.slice(1)] }
          : near;
      const [a, b] = [built(base), built(small)];
      const told = behaviourOf(a) !== behaviourOf(b);
      if (told) different++;
      if (told) assert.notEqual(digestOf(a), digestOf(b));
      const moved = built({ ...base, turned: !base.turned, oneof: 'another' });
      assert.equal(digestOf(a), digestOf(moved));
    }),
    { numRuns: PAIRS },
  );
  assert.ok(different > 0.16 * PAIRS, `${different} of ${PAIRS} pairs could be told apart`);
});
