/** Weighing: parts are counted as they would be made, nothing that decodes is refused, and a bomb costs nothing. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  toBinary,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import {
  AnySchema,
  anyPack,
  DescriptorProtoSchema,
  FileDescriptorProtoSchema,
  ListValueSchema,
  StructSchema,
} from '@bufbuild/protobuf/wkt';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { RefusalError } from '../src/errors.ts';
import { decoded } from '../src/message/decode.ts';
import { HeavyError, MAX_PARTS, weigh } from '../src/message/part-limit.ts';

const CHANGED = count(20_000, 20_000, 2000);

const registry = createRegistry(ListValueSchema, StructSchema, AnySchema, FileDescriptorProtoSchema);

/** The same number by way of the decoded message. */
function counted(message: ReflectMessage): number {
  let parts = 0;
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    if (field.fieldKind === 'list') {
      const elements = [...(message.get(field) as Iterable<unknown>)];
      parts += elements.length + (field.packed ? 1 : 0);
      if (field.message) for (const element of elements) parts += counted(element as ReflectMessage);
    } else if (field.fieldKind === 'map') {
      for (const value of message.get(field).values()) {
        parts += 3; // the entry, its key, its value
        if (field.message) parts += counted(value as ReflectMessage);
      }
    } else {
      parts += 1;
      if (field.fieldKind === 'message') parts += counted(message.get(field));
    }
  }
  return parts;
}

const places = fc.array(fc.record({ path: fc.array(fc.nat()), leadingComments: fc.string() }), { maxLength: 4 });
const messages: fc.Arbitrary<readonly [DescMessage, Message]> = fc.oneof(
  fc
    .array(fc.jsonValue({ maxDepth: 4 }))
    .map((list) => [ListValueSchema, fromJson(ListValueSchema, list as JsonValue)] as const),
  fc
    .dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }))
    .map((fields) => [StructSchema, fromJson(StructSchema, fields as JsonValue)] as const),
  fc
    .record({
      name: fc.string(),
      dependency: fc.array(fc.string()),
      publicDependency: fc.array(fc.nat()),
      sourceCodeInfo: fc.record({ location: places }),
    })
    .map((file) => [FileDescriptorProtoSchema, fromJson(FileDescriptorProtoSchema, file)] as const),
);

test('parts are those of the decoded message', () => {
  fc.assert(
    fc.property(messages, ([descriptor, message]) => {
      assert.equal(weigh(descriptor, toBinary(descriptor, message), registry), counted(reflect(descriptor, message)));
    }),
    { numRuns: 2000 },
  );
});

function reads(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch {
    return false;
  }
}

test('what is made of bytes that are no message of anybody’s was counted', () => {
  const changed = fc.tuple(
    messages,
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 1 }),
    fc.option(fc.nat()),
    fc.uint8Array({ maxLength: 2 }),
  );
  let [weighed, refused] = [0, 0];
  fc.assert(
    fc.property(changed, ([[descriptor, message], changes, cut, more]) => {
      const whole = toBinary(descriptor, message);
      const bytes = Buffer.concat([whole.subarray(0, cut === null ? undefined : cut % (whole.length + 1)), more]);
      for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value;
      if (!reads(() => weigh(descriptor, bytes, registry))) refused++;
      else if (reads(() => fromBinary(descriptor, bytes))) {
        const parts = weigh(descriptor, bytes, registry);
        // An entry of a map is made of three, and may leave two of them out.
        assert.ok(counted(reflect(descriptor, fromBinary(descriptor, bytes))) <= 3 * parts);
        weighed++;
      }
    }),
    { numRuns: CHANGED },
  );
  assert(Math.min(weighed, refused) > 0.05 * CHANGED, `${weighed} weighed, ${refused} refused`);
});

/** A field of nothing, two bytes each, until the message is full. */
function full(tag: number): Uint8Array {
  return Buffer.alloc(4 * 1024 * 1024, Buffer.from([tag, 0]));
}
const nested = (bytes: Uint8Array): Uint8Array =>
  toBinary(AnySchema, anyPack(ListValueSchema, fromBinary(ListValueSchema, bytes)));

const BOMBS: Readonly<Record<string, readonly [DescMessage, Uint8Array]>> = {
  'empty messages of a list': [ListValueSchema, full(0x0a)],
  'entries of a map': [StructSchema, full(0x0a)],
  'fields that it does not have': [ListValueSchema, full(0x78)],
  'a field written again and again': [DescriptorProtoSchema, full(0x0a)],
  'packed numbers': [
    FileDescriptorProtoSchema,
    Buffer.concat([Buffer.from([0x52, 0xa0, 0x8d, 0x06]), Buffer.alloc(100_000)]),
  ],
  'a list within Any': [AnySchema, nested(Buffer.alloc(2 * (MAX_PARTS + 1), Buffer.from([0x0a, 0])))],
};

for (const [name, [descriptor, bytes]] of Object.entries(BOMBS)) {
  test(`${name} are refused before they are made`, () => {
    assert.throws(
      () => decoded('request', descriptor, bytes, registry),
      (error: RefusalError) =>
        error instanceof RefusalError && error.code === 'request' && error.cause instanceof HeavyError,
    );
    const before = process.memoryUsage().heapUsed;
    assert.equal(
      reads(() => weigh(descriptor, bytes, registry)),
      false,
    );
    const grown = process.memoryUsage().heapUsed - before;
    assert.ok(grown < 64 * 1024 * 1024, `${grown} bytes`);
  });
}

test('a message that is as large as may be is read', () => {
  const bytes = Buffer.alloc(2 * MAX_PARTS, Buffer.from([0x0a, 0]));
  const message = decoded('request', ListValueSchema, bytes, registry);
  assert.equal((message as Message & { values: unknown[] }).values.length, MAX_PARTS);
});

test('a message too deep for a stack is none', () => {
  let bytes: Uint8Array = new Uint8Array();
  for (let depth = 0; depth < 5000; depth++)
    bytes = Buffer.concat([Buffer.from([depth % 2 === 0 ? 0x32 : 0x0a]), varint(bytes.length), bytes]);
  assert.throws(() => decoded('request', ListValueSchema, bytes, registry), RefusalError);
});

function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return Uint8Array.from([...bytes, rest]);
    bytes.push((rest & 0x7f) | 0x80);
  }
}
