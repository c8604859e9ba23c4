/** Leaves of messages: bytes are found wherever a type can hold them, as the text that they are on the wire. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { compileProtos } from '@enclaim/image';
import { readDescriptors } from '@enclaim/policy-schema/admission';
import { leavesOf } from '../src/leaves.ts';
import type { Json } from '../src/worker/protocol.ts';

const folder = mkdtempSync(join(tmpdir(), 'enclaim-leaves-'));
writeFileSync(
  join(folder, 't.proto'),
  `syntax = "proto3"; package t; import "google/protobuf/wrappers.proto"; import "google/protobuf/any.proto";
    message Plain { string word = 1; Plain inner = 2; repeated Plain more = 3; }
    message Tree {
      bytes load = 1; repeated bytes loads = 2; map<string, bytes> named = 3; Tree inner = 4; repeated Tree more = 5;
      map<string, Tree> trees = 6; google.protobuf.BytesValue wrapped = 7; oneof one { bytes picked = 8; string word = 9; }
      google.protobuf.Any any = 10; optional bytes perhaps = 11;
    }
    message Around { string word = 1; Tree tree = 2; Plain plain = 3; }`,
);
const { registry } = readDescriptors(await compileProtos(folder).finally(() => rmSync(folder, { recursive: true })));
const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Leaves of a message that is given as JSON. */
function leaves(type: string, json: JsonValue): Json {
  const descriptor = registry.getMessage(type) ?? assert.fail();
  const message = fromJson(descriptor, json, { registry });
  return leavesOf(descriptor, message, toJson(descriptor, message, { registry }) as Json);
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
})) {
  test(`bytes ${where} are text of their own`, () => {
    const json = wrap(base64('positive since May'));
    for (const [type, message] of [
      ['t.Tree', json],
      ['t.Around', { tree: json }],
    ] as const) {
      const [first, ...texts] = leaves(type, message) as [Json, ...string[]];
      assert.deepEqual(first, message);
      assert.deepEqual(
        texts.filter((text) => text !== ''),
        ['positive since May'],
      );
    }
  });
}

test('bytes of any message are the text that they are on the wire', () => {
  const any = { '@type': 'type.googleapis.com/t.Plain', word: 'positive since May' };
  const [, text] = leaves('t.Tree', { any }) as [Json, string];
  assert.match(text, /positive since May/);
});

test('text is UTF-8 where it is that, else a character for each byte', () => {
  assert.deepEqual((leaves('t.Tree', { load: base64('für Zoë') }) as Json[]).slice(1), ['für Zoë']);
  const latin1 = Buffer.from('für Zoë', 'latin1').toString('base64');
  assert.deepEqual((leaves('t.Tree', { load: latin1 }) as Json[]).slice(1), ['für Zoë']);
});

test('a message of a type without bytes is its JSON and nothing else', () => {
  const json = { word: 'w', inner: { word: 'v' }, more: [{ word: 'u' }] };
  assert.deepEqual(leaves('t.Plain', json), json);
  assert.deepEqual(leaves('t.Around', { word: 'w' }), [{ word: 'w' }]);
});
