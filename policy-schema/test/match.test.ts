/**
 * A method is exposed only where its declaration fits in its rule, with a reason where it does
 * not.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { match, type Policy, parsePolicy } from '../src/index.ts';
import { compileFiles } from './compile.ts';
import { MATCHES, type Row } from './match-table.ts';

const rows = Object.entries(MATCHES).flatMap(([syntax, of]) => of.map((row): [string, Row] => [syntax, row]));

/** The package of a row, and the line on which its messages stand. */
const packageOf = (index: number): string => `r${index}`;

function protoOf(syntax: string, index: number, [, method, messages]: Row): string {
  const purpose = method.includes('purpose') ? '' : 'purpose: "p"';
  const known = ['any', 'empty', 'field_mask', 'struct', 'timestamp', 'wrappers'].map(
    (name) => `import "google/protobuf/${name}.proto";`,
  );
  return [
    `${/^\d/.test(syntax) ? 'edition' : 'syntax'} = "${syntax}"; package ${packageOf(index)};`,
    `import "enclaim/handling.proto"; ${known.join(' ')}`,
    messages,
    `service S { rpc M(In) returns (Out) { option (enclaim.handling) = { ${purpose} ${method} }; } }`,
  ].join('\n');
}

const VOCABULARY = `enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { a: { description: x }, ab: { description: x }, a.b: { description: x }, a.b.c: { description: x }, d: { description: x } }
collections: { c1: { holds: [a], retention: P1D }, c2: { holds: [a], retention: P1D } }
subprocessors:
  s1: { address: https://s.example, identity: { ca: system }, region: r, receives: [a] }
  s2: { address: https://s.example, identity: { ca: system }, region: r, receives: [d] }
access: { identities: { staff: { category: public, mtls: { ca: "sha256:${'0'.repeat(64)}" } } } }
`;

function policyFor(service: string, rule: string): Policy {
  const callers = rule.includes('callers') ? '' : 'callers: [anyone],';
  return parsePolicy(`${VOCABULARY}services: { ${service}: { M: { purpose: p, ${callers} ${rule} } } }\n`);
}

const descriptors = await compileFiles(
  Object.fromEntries(rows.map(([syntax, row], index) => [`${packageOf(index)}.proto`, protoOf(syntax, index, row)])),
);

for (const [index, [syntax, [id, , , rule, expected = []]]] of rows.entries()) {
  test(`${syntax}: ${id}`, () => {
    const service = `${packageOf(index)}.S`;
    const { exposed, withheld } = match(descriptors, policyFor(service, rule));
    const reasons = withheld.find(({ method }) => method === `${service}/M`)?.reasons ?? [];
    const found = reasons.map(({ code, field = '-', pointer, proto }) => {
      const within = pointer.replace(`/services/${service}/M`, '') || '-';
      return `${code} ${field} ${within} ${(proto?.line ?? 0) === 4 ? 0 : proto?.column}`;
    });
    assert.deepEqual(found, expected);
    assert.equal(exposed.length, expected.length === 0 ? 1 : 0);
    if (expected.length === 0) assert.equal(exposed[0]?.id, `${service}/M`);
  });
}

test('a rule without a method is no error, and a method without a rule is withheld', () => {
  const { exposed, withheld, unused, errors } = match(descriptors, policyFor('not.there', ''));
  assert.deepEqual([exposed, errors, unused], [[], [], ['not.there/M']]);
  assert.equal(withheld.length, rows.length);
  assert.ok(withheld.every(({ reasons }) => reasons.length === 1 && reasons[0]?.code === 'no-rule'));
});
