/**
 * A table of cases is decided row by row as calls are, and a table that is none is refused with
 * places.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Decision, decide, type Flow } from '../src/admission.ts';
import { authorize } from '../src/cedar.ts';
import { formatIssue, PolicyError, parsePolicy, runCases } from '../src/index.ts';
import { BASE } from './base-policy.ts';

const policy = parsePolicy(BASE);
const IN_TIME = Date.parse('2027-03-31T23:59:59Z');

const flow = (method: string, sink: Flow['sink'], label: readonly string[] = [], identity = 'staff'): Flow => ({
  identity,
  method: `c.v1.Intake/${method}`,
  label: new Set(label),
  sink,
});

/** Flows under the base policy, Cedar permitting, and the rule that decides. */
const FLOWS: readonly (readonly [flow: Flow, code: Decision['code']])[] = [
  [flow('Submit', { kind: 'call' }, ['personal.health', 'personal.email']), 'allowed'],
  [flow('Submit', { kind: 'call' }, ['operational']), 'accepts'],
  [flow('Submit', { kind: 'call' }, ['public']), 'allowed'],
  [flow('Submit', { kind: 'call' }, [], 'anyone'), 'callers'],
  [flow('Export', { kind: 'call' }), 'no-rule'],
  [flow('constructor', { kind: 'call' }), 'no-rule'],
  [flow('Read', { kind: 'read', name: 'cases' }), 'allowed'],
  [flow('Read', { kind: 'read', name: 'ids' }), 'reads'],
  [flow('Submit', { kind: 'read', name: 'cases' }), 'reads'],
  [flow('Submit', { kind: 'store', name: 'cases' }, ['personal.health']), 'allowed'],
  [flow('Submit', { kind: 'store', name: 'cases' }, ['personal.email']), 'holds'],
  [flow('Read', { kind: 'store', name: 'cases' }), 'stores'],
  [flow('Submit', { kind: 'send', name: 'mailer' }, ['personal.email']), 'allowed'],
  [flow('Submit', { kind: 'send', name: 'mailer' }, ['personal.email', 'personal.health']), 'receives'],
  [flow('Read', { kind: 'send', name: 'mailer' }), 'sends'],
  [flow('Submit', { kind: 'release', name: 'notify' }, ['personal.health']), 'allowed'],
  [flow('Read', { kind: 'release', name: 'notify' }), 'release'],
  [flow('Submit', { kind: 'release', name: 'other' }), 'release'],
  [flow('Read', { kind: 'response' }, ['personal.health']), 'allowed'],
  [flow('Read', { kind: 'response' }, ['personal.email']), 'returns'],
  // The rule returns it, and this kind of caller may not have it.
  [flow('Submit', { kind: 'response' }, ['operational']), 'receives'],
];

for (const [each, code] of FLOWS) {
  const { method, sink, label } = each;
  test(`${method} with ${[...label].join(', ') || 'nothing'} into ${Object.values(sink).join(' ')}: ${code}`, () => {
    const decision = decide(policy, each, { authorized: true, now: IN_TIME });
    assert.deepEqual([decision.code, decision.allow], [code, code === 'allowed']);
  });
}

test('where Cedar was not asked, or the time is not known, nothing that depends on it is allowed', () => {
  const call = flow('Submit', { kind: 'call' });
  assert.equal(decide(policy, call).code, 'cedar');
  assert.equal(decide(policy, call, { authorized: false }).code, 'cedar');
  const send = flow('Submit', { kind: 'send', name: 'mailer' });
  assert.equal(decide(policy, send, { authorized: true }).code, 'assurance');
  assert.equal(decide(policy, send, { authorized: true, now: IN_TIME + 1000 }).code, 'assurance');
});

const TABLE = `tests:
  - { name: kept, caller: { identity: staff }, method: c.v1.Intake/Submit, label: [personal.health], sink: store:cases, expect: allow }
  - { name: not kept, caller: { identity: staff }, method: c.v1.Intake/Submit, sink: store:cases, expect: deny }
  - name: wrong reason
    method: c.v1.Intake/Submit
    expect: deny
    because: cedar
`;

test('a table is run row by row, and each result knows its line', () => {
  const results = runCases(policy, TABLE, authorize);
  assert.deepEqual(
    results.map(({ ok, line, decision }) => [ok, line, decision.code]),
    [
      [true, 2, 'allowed'],
      [false, 3, 'allowed'],
      [false, 4, 'callers'],
    ],
  );
});

test('a table that is none is refused with places', () => {
  const refused = (text: string): string[] => {
    try {
      runCases(policy, text, authorize, 't.yaml');
    } catch (error) {
      assert.ok(error instanceof PolicyError);
      return error.issues.map(formatIssue);
    }
    return [];
  };
  assert.deepEqual(refused(TABLE.replace('sink: store:cases', 'sink: keep:cases')), [
    't.yaml:2:108 tests[0].sink: expected call, response, read:NAME, store:NAME, send:NAME or release:NAME, found "keep:cases"',
  ]);
  assert.deepEqual(refused(TABLE.replace('    expect: deny\n', '')), [
    't.yaml:4:5 tests[2].expect: "expect" is missing: expected "allow", "deny"',
  ]);
  const misspelt = (from: string, to: string): string[] => refused(TABLE.replace(from, to));
  assert.deepEqual(refused('tests: []'), ['t.yaml:1:8 tests: expected at least 1, found a list of 0']);
  assert.deepEqual(misspelt('Intake/Submit', 'Intake/Sumbit'), [
    't.yaml:2:56 tests[0].method: the policy has no rule for "c.v1.Intake/Sumbit"; did you mean "c.v1.Intake/Submit"?',
  ]);
  assert.deepEqual(misspelt('because: cedar', 'because: no-rulle'), [
    't.yaml:7:14 tests[2].because: expected "allowed", "no-rule", "callers", "cedar", "accepts", "reads", "stores", "holds", "sends", "receives", "assurance", "returns", "release", found "no-rulle"; did you mean "no-rule"?',
  ]);
  for (const [from, to, said] of [
    ['[personal.health]', '[persnal.health]', /no category "persnal\.health"; did you mean "personal\.health"/],
    ['identity: staff', 'identity: staf', /no identity "staf"; did you mean "staff"/],
    ['sink: store:cases', 'sink: send:mialer', /no subprocessor "mialer"; did you mean "mailer"/],
    ['sink: store:cases', 'sink: release:notfy', /no release "notfy"; did you mean "notify"/],
    ['sink: store:cases', 'sink: read:caes', /no collection "caes"; did you mean "cases"/],
  ] as const)
    assert.match(misspelt(from, to).join('\n'), said);
  // A method that has no rule on purpose is expected to be denied for that.
  const none = '  - { name: none, method: c.v1.Intake/Export, expect: deny, because: no-rule }\n';
  assert.deepEqual(refused(TABLE + none), []);
  assert.deepEqual(refused('tests: &a [*a]'), [
    't.yaml:1:11: an anchor; write the value out where it is used',
    't.yaml:1:12: an alias; write the value out',
    't.yaml:1:12 tests[0]: expected a mapping, found nothing',
  ]);
});
