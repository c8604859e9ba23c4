/** Each policy of the table parses, or is refused with its code at its place. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCedar } from '../src/cedar.ts';
import { checkPolicy, formatIssue } from '../src/index.ts';
import { BASE } from './base-policy.ts';
import { INVALID, VALID } from './policy-table.ts';
import { documentOf } from './row.ts';

for (const [id, edit, expected = []] of [...VALID, ...INVALID]) {
  test(`${expected.length === 0 ? 'a policy' : 'refused'}: ${id}`, () => {
    const { policy, issues } = checkPolicy(documentOf(edit), { checks: [checkCedar] });
    assert.deepEqual(
      issues.map((issue) => `${issue.code} ${formatIssue(issue)}`),
      expected,
    );
    assert.equal(
      policy !== undefined,
      issues.every(({ severity }) => severity === 'warning'),
    );
  });
}

test('the table has at least 150 policies, and each refusal is in it once', () => {
  assert.ok(VALID.length + INVALID.length >= 150);
  const codes = new Set(INVALID.flatMap(([, , issues = []]) => issues.map((issue) => issue.split(' ')[0])));
  const tabled = ['size', 'encoding', 'syntax', 'depth', 'yaml', 'duplicate', 'unknown', 'missing', 'type', 'value'];
  for (const code of [...tabled, 'reference', 'conflict', 'unbacked', 'control', 'cedar'])
    assert.ok(codes.has(code), code);
});

test('what has expired is an error only where a time is given', () => {
  const asOf = (day: string): string[] => checkPolicy(BASE, { asOf: Date.parse(day) }).issues.map(formatIssue);
  assert.deepEqual(asOf('2026-12-31T23:59:59Z'), []);
  // A hole for a while is none for years.
  assert.deepEqual(asOf('2026-01-01'), []);
  assert.deepEqual(asOf('2025-12-01'), [
    '40:124 overrides[0].expires: OVR-7 is in force until 2026-12-31; expected a day within P366D of the check',
  ]);
  assert.deepEqual(asOf('2027-01-01'), ['40:124 overrides[0].expires: OVR-7 ended with 2026-12-31']);
  assert.deepEqual(asOf('2027-04-01'), [
    '24:133 subprocessors.mailer.assurance.validUntil: the assurance ended with 2027-03-31',
    '40:124 overrides[0].expires: OVR-7 ended with 2026-12-31',
  ]);
});

test('at most 50 issues are listed, and what is left out is counted', () => {
  const claims = Array.from({ length: 300 }, (_, i) => `  - { id: c${i}, kind: residency, statement: x }\n`).join('');
  const { issues } = checkPolicy(
    `enclaim: 1\nsystem: { name: a, owner: { name: A, contact: a }, version: 1 }\nclaims:\n${claims}`,
  );
  assert.equal(issues.length, 51);
  assert.equal(issues.at(-1)?.message, '250 more issues are not listed');
});
