/** A collection names a message whose fields all say what they carry and may be held there, and indexes of single values. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalPolicy, match, parsePolicy } from '../src/index.ts';
import { compileFiles } from './compile.ts';

const a = '[(enclaim.data) = "a"]';
const CASE = `message Case {
  string text = 1 ${a}; bytes raw = 2 ${a}; sint64 count = 3 ${a}; bool done = 4 ${a}; Kind kind = 5 ${a};
  optional fixed32 room = 6 ${a}; oneof either { string left = 7 ${a}; uint64 right = 8 ${a}; }
  double score = 9 ${a}; repeated string names = 10 ${a}; map<string, string> pairs = 11 ${a}; Inner inner = 12;
}
message Inner { string deep = 1 [(enclaim.data) = "a.b"]; }
enum Kind { NONE = 0; SOME = 1; }`;

/** What a match says of a collection with such members, held against a .proto. */
async function matched(members: string, { proto = CASE, holds = '[a]' } = {}) {
  const policy = parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { a: { description: x }, a.b: { description: x }, d: { description: x } }
collections: { cases: { holds: ${holds}, retention: P1D, ${members} } }
`);
  const file = `syntax = "proto3"; package t; import "enclaim/handling.proto"; import "google/protobuf/struct.proto"; ${proto}`;
  return match(await compileFiles({ 't.proto': file }), policy);
}

test('single values are indexes, in the order of the policy, with the categories of their fields', async () => {
  const { stored, errors } = await matched(
    'message: t.Case, indexes: [text, raw, count, done, kind, room, left, right]',
  );
  assert.deepEqual(errors, []);
  const { message, indexes } = stored.get('cases') ?? assert.fail();
  assert.equal(message.typeName, 't.Case');
  assert.deepEqual(
    indexes.map(({ field, categories }) => [field.name, categories]),
    ['count', 'done', 'kind', 'left', 'raw', 'right', 'room', 'text'].map((name) => [name, ['a']]),
  );
});

test("a field has the categories of its message, too, and the policy's canonical form lacks what is left out", async () => {
  const proto = 'message Case { option (enclaim.holds) = "d"; string text = 1 [(enclaim.data) = "a"]; }';
  const { stored } = await matched('message: t.Case, indexes: [text]', { proto, holds: '[a, d]' });
  assert.deepEqual(stored.get('cases')?.indexes[0]?.categories, ['a', 'd']);
  const bare = parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
collections: { cases: { holds: [], retention: P1D } }
`);
  const { collections } = JSON.parse(Buffer.from(canonicalPolicy(bare)).toString()) as { collections: object };
  assert.deepEqual(collections, { cases: { holds: [], retention: 'P1D', storage: 'sealed' } });
  assert.equal((await matched('storage: volatile')).stored.size, 0);
});

for (const [what, members, expected, options] of [
  ['a message that no .proto has', 'message: t.Kase', ['/collections/cases/message no .proto has a message t.Kase']],
  [
    "a type of protobuf's own",
    'message: google.protobuf.Struct',
    ['/collections/cases/message google.protobuf.Struct is a type of protobuf itself: no field has a category'],
  ],
  [
    'a field without a category',
    'message: t.Case',
    ['/collections/cases/message cases keeps text, which has no category'],
    { proto: 'message Case { string text = 1; }' },
  ],
  [
    'a field that carries more than is held',
    'message: t.Case',
    ['/collections/cases/holds t.Case.text carries a; cases holds d'],
    { proto: `message Case { string text = 1 ${a}; }`, holds: '[d]' },
  ],
  [
    'a field that there is not',
    'message: t.Case, indexes: [test]',
    ['/collections/cases/indexes/0 t.Case has no field test'],
  ],
  ...['score', 'names', 'pairs', 'inner'].map(
    (field) =>
      [
        `an index of ${field}`,
        `message: t.Case, indexes: [${field}]`,
        [`/collections/cases/indexes/0 t.Case.${field} is no single text, bytes, whole number, truth value or enum`],
      ] as const,
  ),
] as const)
  test(`${what} is an error`, async () => {
    const { errors } = await matched(members, options);
    assert.deepEqual(
      errors.map(({ pointer, message }) => `${pointer} ${message}`),
      expected,
    );
  });
