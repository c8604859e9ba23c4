/** Each decision names the claims that it shows or upholds, and controls are those of these claims. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Policy, parsePolicy } from '@enclaim/policy-schema';
import { controlsOf, type MethodClaims, servedClaims } from '@enclaim/policy-schema/admission';
import { BASE } from './base-policy.ts';

const SUBMIT = 'c.v1.Intake/Submit';
const READ = 'c.v1.Intake/Read';
const policy = parsePolicy(BASE);
/** The same with claims about data that only `Submit` handles. */
const twice = parsePolicy(
  BASE.replace(
    'claims:\n',
    `claims:
  - { id: mail-log, kind: access-logged, statement: Logged., data: [personal.email], controls: [soc2/cc7.2] }
  - { id: mail-share, kind: no-undisclosed-recipients, statement: Not shared., data: [personal.email] }
`,
  ),
);

function of(method: string, under: Policy): MethodClaims {
  return servedClaims(under).methods.get(method) ?? assert.fail();
}

test('a boot serves every claim, because admission found each one held', () => {
  assert.deepEqual([...servedClaims(policy).boot].sort(), policy.claims.map(({ id }) => id).sort());
});

test('a new epoch of stored state serves the claims about deletion and encryption', () => {
  assert.deepEqual(servedClaims(policy).epoch, ['gone', 'rest']);
});

test('what was allowed serves the claims whose enforcers decided about it', () => {
  assert.deepEqual(of(READ, policy).answer, ['bound', 'leak', 'local', 'log', 'share']);
  assert.deepEqual(of(READ, policy).stream, ['leak', 'log', 'share']);
  assert.deepEqual(of(READ, policy).message, ['leak', 'local', 'share', 'subs']);
});

test('a refusal serves the claims that it upholds, and at the end of a call the access is on record', () => {
  const { refusal, end } = of(READ, policy);
  assert.deepEqual([refusal('no-leakage'), end('no-leakage')], [['leak'], ['leak', 'log']]);
  assert.deepEqual([refusal(undefined), end(undefined)], [[], ['log']]);
  assert.deepEqual(end('access-logged'), ['log']);
  assert.deepEqual(servedClaims(policy).refusals('bounded-resources'), ['bound']);
});

test('a claim about some data is served by calls of methods that handle any of it', () => {
  assert.deepEqual(of(READ, twice).answer, ['bound', 'leak', 'local', 'log', 'share']);
  assert.deepEqual(of(SUBMIT, twice).answer, ['bound', 'leak', 'local', 'log', 'mail-log', 'mail-share', 'share']);
  assert.deepEqual(of(SUBMIT, twice).refusal('no-undisclosed-recipients'), ['mail-share', 'share']);
  assert.deepEqual(of(READ, twice).end('no-undisclosed-recipients'), ['log', 'share']);
});

test('a method handles what it releases, too', () => {
  const releasing = parsePolicy(
    BASE.replace('build: { to: $request.email }', 'build: { to: $record.ids.name }')
      .replace('claims:\n', 'claims:\n  - { id: ids, kind: access-logged, statement: Logged., data: [internal] }\n')
      .replace(
        'operational: { description: ids }',
        'operational: { description: ids }\n  internal: { description: ids }',
      )
      .replace('ids: { holds: [operational]', 'ids: { holds: [internal]'),
  );
  assert.ok(of(SUBMIT, releasing).answer.includes('ids'));
  assert.ok(!of(READ, releasing).answer.includes('ids'));
});

test('controls of a record are those of its claims in its policy', () => {
  assert.deepEqual(controlsOf(twice, ['rest', 'mail-log', 'share', 'rest']), ['soc2/cc6.1', 'soc2/cc7.2']);
  assert.deepEqual(controlsOf(twice, []), []);
  assert.throws(() => controlsOf(policy, ['mail-log']), RangeError);
});
