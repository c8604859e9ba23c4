/** Decisions that are kept are those of the policy, for this method, this label and this moment. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, type Label, type Policy, type Sink } from '@enclaim/policy-schema/admission';
import { FloatingLabel } from '../src/flow/floating-label.ts';
import { FlowJudge } from '../src/flow/flow-judge.ts';

const rule = { callers: ['anyone'], accepts: ['a'], reads: [], stores: [], sends: ['peer'], returns: ['b'] };
const END = Date.UTC(2026, 5, 16);
const policyOf = (accepts: readonly string[]): Policy =>
  ({
    services: { 'a.B': { C: { ...rule, accepts }, D: { ...rule, accepts: ['b'] } } },
    subprocessors: { peer: { receives: ['a'], assurance: { validUntil: '2026-06-15' } } },
    access: { cedar: '', identities: {} },
    declassify: [],
  }) as unknown as Policy;
const judgeOf = (policy: Policy, method: 'a.B/C' | 'a.B/D', now = 0): FlowJudge =>
  new FlowJudge({ policy, method, label: new FloatingLabel(), onDecision: () => {}, now: () => now });

const LABELS: readonly Label[] = [new Set(), new Set(['a']), new Set(['b']), new Set(['a', 'b']), new Set(['public'])];
const SINKS: readonly Sink[] = [
  { kind: 'call' },
  { kind: 'response' },
  { kind: 'read', name: 'peer' },
  { kind: 'send', name: 'peer' },
];

test('each is what the policy decides, the first time and again', () => {
  for (const accepts of [['a'], ['a', 'b']]) {
    const policy = policyOf(accepts);
    for (const again of [false, true])
      for (const method of ['a.B/C', 'a.B/D'] as const)
        for (const label of LABELS)
          for (const sink of SINKS) {
            const decided = decide(policy, { identity: 'anyone', method, label, sink }, { authorized: true, now: 0 });
            assert.deepEqual(judgeOf(policy, method).judge(sink, label), decided, `${method} ${sink.kind} ${again}`);
          }
  }
});

test('a message of the caller is decided about once for all that have its label', () => {
  const policy = policyOf(['a']);
  const label = new Set(['a']);
  const first = judgeOf(policy, 'a.B/C').judge({ kind: 'call' }, label);
  assert.equal(judgeOf(policy, 'a.B/C').judge({ kind: 'call' }, label), first);
  assert.notEqual(judgeOf(policy, 'a.B/C').judge({ kind: 'response' }, label), first);
  assert.notEqual(judgeOf(policyOf(['a']), 'a.B/C').judge({ kind: 'call' }, label), first);
});

test('what a date has a part in is decided anew each time', () => {
  const policy = policyOf(['a']);
  const label = new Set(['a']);
  const sink = { kind: 'send', name: 'peer' } as const;
  assert.equal(judgeOf(policy, 'a.B/C', END - 1).judge(sink, label).allow, true);
  assert.equal(judgeOf(policy, 'a.B/C', END).judge(sink, label).code, 'assurance');
});
