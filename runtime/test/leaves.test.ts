/** Texts of messages: whatever a type can hold is found wherever it stands, in JSON or on the wire. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromBinary, fromJson, type JsonValue, type Message, toJson } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import { detect } from '../src/flow/detectors.ts';
import { leavesOf, textsOf, wireTextsOf } from '../src/message/searchable-text.ts';
import type { Json } from '../src/worker/json-text.ts';

const folder = mkdtempSync(join(tmpdir(), 'enclaim-leaves-'));
writeFileSync(
  join(folder, 't.proto'),
  `syntax = "proto3"; package t; import "google/protobuf/wrappers.proto"; import "google/protobuf/any.proto";
    import "google/protobuf/struct.proto"; import "google/protobuf/field_mask.proto";
    message Plain { string word = 1; Plain inner = 2; repeated Plain more = 3; }
    message Tree {
      bytes load = 1; repeated bytes loads = 2; map<string, bytes> named = 3; Tree inner = 4; repeated Tree more = 5;
      map<string, Tree> trees = 6; google.protobuf.BytesValue wrapped = 7; oneof one { bytes picked = 8; string word = 9; }
      google.protobuf.Any any = 10; optional bytes perhaps = 11;
    }
    message Around { string word = 1; Tree tree = 2; Plain plain = 3; }
    message Kinds {
      string word = 1; repeated string words = 2; map<string, string> pairs = 3; google.protobuf.StringValue wrapped = 4;
      google.protobuf.Struct struct = 5; google.protobuf.Value value = 6; google.protobuf.FieldMask mask = 7;
      google.protobuf.Any any = 8; int64 whole = 9; double broken = 10; map<int64, string> counted = 11; Kinds inner = 12;
      google.protobuf.ListValue list = 13;
    }
    message Numbers { repeated int32 packed = 1; repeated fixed32 words = 2; fixed64 eight = 3; double broken = 4; }`,
);
const { registry } = readDescriptors(await compileProtos(folder).finally(() => rmSync(folder, { recursive: true })));
const base64 = (text: string): string => Buffer.from(text).toString('base64');

function messageOf(type: string, json: JsonValue): Message {
  return fromJson(registry.getMessage(type) ?? assert.fail(), json, { registry });
}

/** Texts of a message that is given as JSON, without what its wire spells. */
function leaves(type: string, json: JsonValue): string[] {
  const descriptor = registry.getMessage(type) ?? assert.fail();
  const message = messageOf(type, json);
  return leavesOf(descriptor, message, toJson(descriptor, message, { registry }) as Json, registry);
}

/** What detectors find in a message. */
function foundIn(type: string, message: Message): string[] {
  const descriptor = registry.getMessage(type) ?? assert.fail();
  const json = toJson(descriptor, message, { registry }) as Json;
  const texts = [...leavesOf(descriptor, message, json, registry), ...wireTextsOf(descriptor, message)];
  return detect(['credential', 'email', 'iban', 'payment-card'], texts, new Set());
}

for (const [where, wrap] of Object.entries<(text: string) => JsonValue>({
  'in a field': (load) => ({ load }),
  'in a list': (load) => ({ loads: ['', load] }),
  'in a map': (load) => ({ named: { a: load } }),
  'in a wrapper': (wrapped) => ({ wrapped }),
  'in a choice': (picked) => ({ picked }),
  'in an optional field': (perhaps) => ({ perhaps }),
  'in a message within': (load) => ({ inner: { inner: { load } } }),
  'in a list of messages': (load) => ({ more: [{}, { more: [{ load }] }] }),
  'in a map of messages': (load) => ({ trees: { a: { load } } }),
  'in an Any': (load) => ({ any: { '@type': 'type.googleapis.com/t.Tree', inner: { load } } }),
})) {
  test(`bytes ${where} are text of their own`, () => {
    const json = wrap(base64('positive since May'));
    for (const [type, message] of [
      ['t.Tree', json],
      ['t.Around', { tree: json }],
    ] as const) {
      assert.ok(leaves(type, message).includes('positive since May'));
    }
  });
}

test('bytes of any message are the text that they are on the wire', () => {
  const any = { '@type': 'type.googleapis.com/t.Plain', word: 'positive since May' };
  assert.match(leaves('t.Tree', { any }).join('\n'), /.positive since May/s);
});

test('text is UTF-8 where it is that, else a character for each byte', () => {
  assert.ok(leaves('t.Tree', { load: base64('für Zoë') }).includes('für Zoë'));
  const latin1 = Buffer.from('für Zoë', 'latin1').toString('base64');
  assert.ok(leaves('t.Tree', { load: latin1 }).includes('für Zoë'));
});

test('a message of a type without bytes is its JSON, without the names of its fields', () => {
  const json = { word: 'w', inner: { word: 'v' }, more: [{ word: 'u' }] };
  assert.deepEqual(leaves('t.Plain', json).sort(), ['u', 'v', 'w']);
  assert.deepEqual(leaves('t.Kinds', { pairs: { someone: 'x', word: 'y' } }).sort(), ['someone', 'x', 'y']);
  assert.deepEqual(textsOf({ someone: ['x', 7] }).sort(), ['7', 'someone', 'x']);
});

const TEXTS: Readonly<Record<string, string>> = {
  email: 'jane@clinic.example',
  iban: 'DE89 3704 0044 0532 0130 00',
  'payment-card': '4111 1111 1111 1111',
  credential: `ghp_${'a1'.repeat(18)}`,
};
const pieces = (text: string): string[] => text.match(/.{1,4}/gs) ?? [];
/** A double whose eight bytes are text. */
const doubleOf = (text: string): number => Buffer.from(text.padEnd(8, '.')).readDoubleLE();

/** Where a text can stand in a message that its type allows. */
const SURFACES: Readonly<Record<string, readonly [type: string, wrap: (text: string) => JsonValue]>> = {
  'a field': ['t.Kinds', (word) => ({ word })],
  'a list': ['t.Kinds', (word) => ({ words: ['a', word, 'b'] })],
  'the pieces of a list': ['t.Kinds', (word) => ({ words: pieces(word) })],
  'the name of an entry': ['t.Kinds', (word) => ({ pairs: { [word]: '' } })],
  'the value of an entry': ['t.Kinds', (word) => ({ pairs: { a: word } })],
  'the value of a numbered entry': ['t.Kinds', (word) => ({ counted: { '1': word } })],
  'a wrapper': ['t.Kinds', (wrapped) => ({ wrapped })],
  'a Struct': ['t.Kinds', (word) => ({ struct: { a: [{ b: word }] } })],
  'the name in a Struct': ['t.Kinds', (word) => ({ struct: { [word]: null } })],
  'a Value': ['t.Kinds', (value) => ({ value })],
  'a ListValue in pieces': ['t.Kinds', (word) => ({ list: pieces(word) })],
  'an Any': ['t.Kinds', (word) => ({ any: { '@type': 'type.googleapis.com/t.Plain', word } })],
  'an Any in an Any': [
    't.Kinds',
    (word) => ({
      any: {
        '@type': 'type.googleapis.com/google.protobuf.Any',
        value: { '@type': 'type.googleapis.com/t.Plain', word },
      },
    }),
  ],
  'a message within': ['t.Kinds', (word) => ({ inner: { inner: { words: [word] } } })],
  bytes: ['t.Tree', (word) => ({ load: base64(word) })],
  'bytes among others': ['t.Tree', (word) => ({ load: base64(`\0\xff\x01${word}\xfe`) })],
  'a list of bytes in pieces': ['t.Tree', (word) => ({ loads: pieces(word).map(base64) })],
  'bytes in an Any': ['t.Tree', (word) => ({ any: { '@type': 'type.googleapis.com/t.Tree', load: base64(word) } })],
  'packed numbers': ['t.Numbers', (word) => ({ packed: [...Buffer.from(word)] })],
  'numbers of four bytes': [
    't.Numbers',
    (word) => ({ words: pieces(word.padEnd(40)).map((piece) => Buffer.from(piece).readUInt32LE()) }),
  ],
  'packed numbers in an Any': [
    't.Kinds',
    (word) => ({ any: { '@type': 'type.googleapis.com/t.Numbers', packed: [...Buffer.from(word)] } }),
  ],
};

for (const [surface, [type, wrap]] of Object.entries(SURFACES)) {
  test(`every detector looks at ${surface}`, () => {
    for (const [detector, text] of Object.entries(TEXTS)) {
      assert.deepEqual(foundIn(type, messageOf(type, wrap(text))), [detector]);
    }
  });
}

test('numbers are looked at as they are written', () => {
  for (const json of [
    { whole: '4111111111111111' },
    { broken: 4111111111111111 },
    { counted: { '4111111111111111': 'a' } },
    { struct: { a: 4111111111111111 } },
  ]) {
    assert.deepEqual(foundIn('t.Kinds', messageOf('t.Kinds', json)), ['payment-card']);
  }
});

test('numbers of eight bytes are looked at as bytes', () => {
  const eight = String(Buffer.from('j@ab.de ').readBigUInt64LE());
  assert.deepEqual(foundIn('t.Numbers', messageOf('t.Numbers', { eight })), ['email']);
  assert.deepEqual(foundIn('t.Numbers', messageOf('t.Numbers', { broken: doubleOf('j@ab.de') })), ['email']);
});

test('a field mask is looked at as the names that it has on the wire', () => {
  const token = `ghp_${'a'.repeat(36)}`; // "ghpAaaa…" in JSON
  const mask = messageOf('t.Kinds', { mask: `ghpA${'a'.repeat(35)}` });
  assert.deepEqual(leaves('t.Kinds', { mask: `ghpA${'a'.repeat(35)}` }).includes(token), true);
  assert.deepEqual(foundIn('t.Kinds', mask), ['credential']);
  const within = { any: { '@type': 'type.googleapis.com/google.protobuf.FieldMask', value: `ghpA${'a'.repeat(35)}` } };
  assert.deepEqual(foundIn('t.Kinds', messageOf('t.Kinds', within)), ['credential']);
  assert.deepEqual(foundIn('t.Kinds', messageOf('t.Kinds', { mask: `ghp,A${'a'.repeat(35)}` })), ['credential']);
});

test('fields that a type does not declare are looked at as bytes', () => {
  for (const type of ['t.Plain', 't.Tree']) {
    const bytes = Buffer.concat([Buffer.from([0xa2, 0x06, 19]), Buffer.from('jane@clinic.example')]); // field 100
    const message = fromBinary(registry.getMessage(type) ?? assert.fail(), bytes);
    assert.deepEqual(foundIn(type, message), ['email']);
  }
});
