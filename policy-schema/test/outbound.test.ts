/**
 * Handlers can call those services of subprocessors that the policy names, and serve none of them.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callOf } from '../src/admission.ts';
import { match, parsePolicy } from '../src/index.ts';
import { compileFiles } from './compile.ts';

const POLICY = parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { d: { description: x } }
services: { t.Mail: { Send: { purpose: p, callers: [anyone] } } }
subprocessors: { mailer: { address: https://mail.example, identity: { ca: system }, region: r, receives: [d], calls: [
  t.Mail/Send, t.One/Send, t.Two/Send, t.Mail/constructor, POST /v1/post] } }
`);

/** One service of a subprocessor, with what stands in it and in its messages. */
async function matched(methods: string, { to = 'mailer', fields = 'string a = 1 [(enclaim.data) = "d"];' } = {}) {
  return match(
    await compileFiles({
      't.proto': `syntax = "proto3"; package t; import "enclaim/handling.proto";
        message M { ${fields} }
        service Mail { option (enclaim.subprocessor) = "${to}"; ${methods} }`,
    }),
    POLICY,
  );
}

test('a service of a subprocessor is called, and never served although a rule exists for it', async () => {
  const { exposed, withheld, errors, outbound } = await matched(`rpc Send(M) returns (M) {}
    rpc Post(M) returns (M) { option (enclaim.http) = "POST /v1/post"; }`);
  assert.deepEqual([exposed, withheld, errors], [[], [], []]);
  assert.deepEqual(
    outbound.map(({ subprocessor, name, id, http }) => ({ subprocessor, name, id, http })),
    [
      { subprocessor: 'mailer', name: 'Send', id: 't.Mail/Send', http: 'none' },
      { subprocessor: 'mailer', name: 'Post', id: 't.Mail/Post', http: { verb: 'POST', path: '/v1/post' } },
    ],
  );
});

test('a method whose path or verb the policy does not name is given to nobody', async () => {
  const { outbound, unnamed, errors } = await matched(`rpc Send(M) returns (M) {}
    rpc Other(M) returns (M) {}
    rpc Post(M) returns (M) { option (enclaim.http) = "POST /another-tenant/post"; }
    rpc Put(M) returns (M) { option (enclaim.http) = "PUT /v1/post"; }
    rpc Longer(M) returns (M) { option (enclaim.http) = "POST /v1/post/"; }`);
  assert.deepEqual([errors, outbound.map(({ name }) => name)], [[], ['Send']]);
  assert.deepEqual(
    unnamed.map((method) => callOf(method)),
    ['t.Mail/Other', 'POST /another-tenant/post', 'PUT /v1/post', 'POST /v1/post/'],
  );
});

test('a subprocessor that the policy does not have cannot be called, and is no error', async () => {
  const { exposed, outbound, errors } = await matched('rpc Send(M) returns (M) {}', { to: 'other' });
  assert.deepEqual([exposed, outbound, errors], [[], [], []]);
});

for (const [name, methods, fault, fields] of [
  ['a stream', 'rpc Send(stream M) returns (M) {}', /is a stream/],
  ['a stream of answers', 'rpc Send(M) returns (stream M) {}', /is a stream/],
  ['a verb that only asks', 'rpc Send(M) returns (M) { option (enclaim.http) = "GET /x"; }', /enclaim\.http/],
  ['an origin in the path', 'rpc Send(M) returns (M) { option (enclaim.http) = "POST https://x/"; }', /enclaim\.http/],
  ['a line in the path', 'rpc Send(M) returns (M) { option (enclaim.http) = "POST /\\r\\nHost:x"; }', /enclaim\.http/],
  ['a field without a category', 'rpc Send(M) returns (M) {}', /field a that has no category/, 'string a = 1;'],
  ['a name of objects', 'rpc constructor(M) returns (M) {}', /has a name/],
] as const) {
  test(`${name} of a subprocessor is an error`, async () => {
    const { outbound, errors } = await matched(methods, fields === undefined ? {} : { fields });
    assert.equal(outbound.length, 0);
    assert.match(errors[0]?.message ?? '', fault);
    assert.equal(errors[0]?.pointer, '/subprocessors/mailer');
  });
}

test('two methods of one name are an error, whichever comes first', async () => {
  const { outbound, errors } = match(
    await compileFiles({
      't.proto': `syntax = "proto3"; package t; import "enclaim/handling.proto";
        message M { option (enclaim.holds) = "d"; string a = 1; }
        service One { option (enclaim.subprocessor) = "mailer"; rpc Send(M) returns (M) {} }
        service Two { option (enclaim.subprocessor) = "mailer"; rpc Send(M) returns (M) {} }`,
    }),
    POLICY,
  );
  assert.deepEqual([outbound.length, errors.length], [1, 1]);
  assert.match(errors[0]?.message ?? '', /t\.Two\/Send would be mailer\.Send/);
});
