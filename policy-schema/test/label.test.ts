/** A message carries the categories of all its populated fields, or has no label and is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DescMessage, fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { type ExposedMethod, interfaceDigest, labelOf, requestLabel } from '../src/admission.ts';
import { match, PolicyError, parsePolicy } from '../src/index.ts';
import { compileFiles } from './compile.ts';

const PROTO = `syntax = "proto3"; package t;
import "enclaim/handling.proto";
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
enum E { E_UNSPECIFIED = 0; E_ONE = 1; }
message Leaf { string l = 1 [(enclaim.data) = "leaf"]; string bare = 2; }
message Inherits { string x = 1; google.protobuf.Timestamp at = 2; Inherits next = 3 [(enclaim.data) = "next"]; }
message In {
  string text = 1 [(enclaim.data) = "text"];
  bool flag = 2 [(enclaim.data) = "flag"];
  optional bool choice = 3 [(enclaim.data) = "choice"];
  E kind = 4 [(enclaim.data) = "kind"];
  repeated int32 list = 5 [(enclaim.data) = "list"];
  map<string, Inherits> map = 6 [(enclaim.data) = "map"];
  oneof one { string this = 7 [(enclaim.data) = "this"]; Inherits that = 8 [(enclaim.data) = "that"]; }
  Leaf leaf = 9;
  google.protobuf.Any any = 10 [(enclaim.data) = "any"];
  google.protobuf.Struct struct = 11 [(enclaim.data) = "struct"];
  string free = 12 [(enclaim.data) = "public"];
  repeated Leaf leaves = 13;
}
service S { rpc M(In) returns (Leaf) { option (enclaim.handling) = { purpose: "p" }; } }
message Good { string text = 1 [(enclaim.data) = "text"]; Good next = 2; }
service G { rpc M(Good) returns (Good) { option (enclaim.handling) = { purpose: "p" }; } }`;

const descriptors = await compileFiles({ 't.proto': PROTO });

function messageNamed(name: string): DescMessage {
  const found = descriptors.registry.getMessage(`t.${name}`);
  assert.ok(found);
  return found;
}

/** What every In carries: numbers that cannot be absent have a value. */
const ALWAYS = ['flag', 'kind'];

const LABELS: readonly (readonly [json: JsonValue, label: readonly string[]])[] = [
  [{}, []],
  [{ text: '' }, []],
  [{ text: 'a' }, ['text']],
  [{ flag: true, kind: 'E_ONE' }, []],
  [{ choice: false }, ['choice']],
  [{ list: [0] }, ['list']],
  [{ map: { k: { x: 'a' } } }, ['map']],
  [{ map: { k: {} } }, ['map', 'next']],
  [{ this: '' }, ['this']],
  [{ that: { x: 'a' } }, ['that']],
  [{ that: { next: { x: 'a' } } }, ['next', 'that']],
  [{ that: {} }, ['next', 'that']],
  [{ leaf: { l: 'a' } }, ['leaf']],
  [{ leaf: {} }, ['leaf']],
  [{ leaves: [{ l: 'a' }, {}] }, ['leaf']],
  [{ any: { '@type': 'type.googleapis.com/google.protobuf.Timestamp', value: '2026-01-01T00:00:00Z' } }, ['any']],
  [{ struct: { anything: [1] } }, ['struct']],
  [{ free: 'a' }, ['public']],
];

for (const [json, label] of LABELS) {
  test(`a message carries ${label.join(', ') || 'nothing more'}: ${JSON.stringify(json)}`, () => {
    const schema = messageNamed('In');
    const message = fromJson(schema, json, { registry: descriptors.registry });
    const expected = [...label, ...ALWAYS].sort();
    assert.deepEqual([...labelOf(schema, message)].sort(), expected);
    assert.deepEqual([...labelOf(schema, toBinary(schema, message))].sort(), expected);
  });
}

const refused =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof PolicyError && error.code === code;

test('a populated field without a category has no label', () => {
  const schema = messageNamed('Leaf');
  assert.throws(() => labelOf(schema, fromJson(schema, { bare: 'a' })), refused('handling'));
});

test('a field that the descriptor does not have is refused, at the top and within', () => {
  const schema = messageNamed('In');
  assert.throws(() => labelOf(schema, Uint8Array.of(0xf8, 0x07, 0x01)), refused('handling'));
  assert.throws(() => labelOf(schema, Uint8Array.of(0x4a, 0x03, 0xf8, 0x07, 0x01)), refused('handling'));
});

test('what is not such a message is refused', () => {
  const schema = messageNamed('In');
  for (const bytes of [[0x0a, 0x05, 0x61], [0xff], [0x0a, 0x01, 0xff]]) {
    assert.throws(() => labelOf(schema, Uint8Array.from(bytes)), refused('descriptor'));
  }
});

test('messages nested too deep are refused', () => {
  const schema = messageNamed('Good');
  let [fine, deep] = [new Uint8Array(), new Uint8Array()];
  const wrap = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
    Uint8Array.from([0x12, 0x80 | (bytes.length & 0x7f), bytes.length >> 7, ...bytes]);
  for (let i = 0; i < 64; i++) fine = wrap(fine);
  for (let i = 0; i < 65; i++) deep = wrap(deep);
  assert.ok(labelOf(schema, fine));
  assert.throws(() => labelOf(schema, deep), refused('handling'));
});

function exposedUnder(pin: string): ExposedMethod | undefined {
  const policy = parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { text: { description: x }, other: { description: x } }
services: { t.G: { M: { purpose: p, callers: [anyone], accepts: [text, other], returns: [text], interface: "${pin}" } } }`);
  return match(descriptors, policy).exposed[0];
}

test('without a pinned interface a request counts as all that is accepted: the descriptor may lie', () => {
  const method = exposedUnder('any');
  assert.ok(method);
  assert.deepEqual([...requestLabel(method, new Uint8Array())].sort(), ['other', 'text']);
});

test('with a pinned interface it counts as what is populated, and another interface is withheld', () => {
  const open = exposedUnder('any');
  assert.ok(open);
  const method = exposedUnder(interfaceDigest(open.descriptor));
  assert.ok(method);
  assert.deepEqual([...requestLabel(method, new Uint8Array())], []);
  assert.equal(exposedUnder(`sha256:${'0'.repeat(64)}`), undefined);
});

test('any change of what messages are or carry changes the digest of the interface', async () => {
  const changes: readonly (readonly [from: string, to: string])[] = [
    ['string text = 1 [(enclaim.data) = "text"]; Good', 'string text = 1 [(enclaim.data) = "public"]; Good'],
    ['string text = 1 [(enclaim.data) = "text"]; Good', 'string text = 3 [(enclaim.data) = "text"]; Good'],
    ['string text = 1 [(enclaim.data) = "text"]; Good', 'string body = 1 [(enclaim.data) = "text"]; Good'],
    ['string text = 1 [(enclaim.data) = "text"]; Good', 'int32 text = 1 [(enclaim.data) = "text"]; Good'],
    ['string text = 1 [(enclaim.data) = "text"]; Good', 'optional string text = 1 [(enclaim.data) = "text"]; Good'],
    ['string text = 1 [(enclaim.data) = "text"]; Good', 'repeated string text = 1 [(enclaim.data) = "text"]; Good'],
    ['Good next = 2;', 'Good next = 2 [(enclaim.data) = "other"];'],
    ['Good next = 2;', 'Leaf next = 2;'],
    ['message Good {', 'message Good { option (enclaim.holds) = "other";'],
    ['returns (Good)', 'returns (stream Good)'],
    ['returns (Good)', 'returns (Leaf)'],
  ];
  const digests = [
    PROTO,
    ...changes.map(([from, to]) => {
      assert.ok(PROTO.includes(from));
      return PROTO.replace(from, to);
    }),
  ].map(async (text) => {
    const service = (await compileFiles({ 't.proto': text })).registry.getService('t.G');
    assert.ok(service?.methods[0]);
    return interfaceDigest(service.methods[0]);
  });
  assert.equal(new Set(await Promise.all(digests)).size, changes.length + 1);
});

const pinned = interfaceDigest(exposedUnder('any')?.descriptor ?? assert.fail());

const RELEASES: readonly (readonly [build: string, expected: string | undefined])[] = [
  ['$request.text', undefined],
  ['$request.next.next.text', undefined],
  ['fixed', undefined],
  ['$request.txt', 'takes in no request.txt: t.Good has no field txt'],
  ['$request.next', 'takes in no request.next: next is a message'],
  ['$request.text.x', 'takes in no request.text.x: nothing is within x'],
];

for (const [build, expected] of RELEASES) {
  test(`a release of ${build} ${expected ?? 'can be built'}`, () => {
    for (const [receives, more] of [
      ['text', undefined],
      ['other', 'carries text; s receives other'],
    ] as const) {
      const { errors } = match(
        descriptors,
        parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { text: { description: x }, other: { description: x } }
services: { t.G: { M: { purpose: p, callers: [anyone], accepts: [text], sends: [s], returns: [text], interface: "${pinned}" } } }
subprocessors: { s: { address: https://s.example, identity: { ca: system }, region: r, receives: [${receives}] } }
declassify: [{ id: r, method: t.G/M, to: s, call: POST /, build: { x: ${build} }, owner: me, justification: x }]`),
      );
      const wanted = expected ?? (build === 'fixed' ? undefined : more);
      assert.equal(errors.length, wanted === undefined ? 0 : 1);
      assert.ok(wanted === undefined || errors[0]?.message.endsWith(wanted), `${errors[0]?.message}`);
    }
  });
}
