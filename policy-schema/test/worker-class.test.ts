/** Worker classes: who may share a process is computed from the rules, whatever their order. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { decide, type Sink } from '../src/admission.ts';
import { match, type Policy, PolicyError, parsePolicy } from '../src/index.ts';
import { MAX_WORKER_CLASSES, obstacle, type RuledMethod, workerClasses } from '../src/match/worker-class.ts';
import { compileFiles } from './compile.ts';
import { smallPolicy } from './small-policy.ts';

function policyOf(rules: Readonly<Record<string, string>>, more = ''): Policy {
  const services = Object.entries(rules).map(
    ([name, rule]) => `    ${name}: { purpose: p, callers: [anyone], ${rule} }`,
  );
  return parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { a: { description: x }, a.b: { description: x }, d: { description: x } }
collections:
  as: { holds: [a], retention: P1D }
  ds: { holds: [d], retention: P1D }
  all: { holds: [a, d], retention: P1D }
subprocessors:
  hears_a: { address: https://s.example, identity: { ca: system }, region: r, receives: [a] }
  hears_d: { address: https://s.example, identity: { ca: system }, region: r, receives: [d], calls: [s.Out/Ask] }
${more}
services:
  s.S:
${services.join('\n')}
`);
}

function methodsOf({ services }: Policy): RuledMethod[] {
  return Object.entries(services).flatMap(([service, rules]) =>
    Object.entries(rules).map(([name, rule]): RuledMethod => ({ id: `${service}/${name}`, rule })),
  );
}

/** Classes of the methods of `s.S`, by their names. */
const classesOf = (policy: Policy): string[] =>
  workerClasses(policy, methodsOf(policy)).map(({ methods }) => methods.map((id) => id.slice(4)).join(' '));

for (const [name, rules, expected] of [
  ['methods that learn nothing share with each other', { A: '', B: 'returns: [a]' }, ['A B']],
  ['what all may have hinders nobody', { A: 'accepts: [public]', B: 'returns: [a]' }, ['A B']],
  ['what one reads, the other may not return', { A: 'reads: [as], returns: [a]', B: 'returns: [d]' }, ['A', 'B']],
  ['what one accepts, the other may not return', { A: 'accepts: [a]', B: 'returns: [d]' }, ['A', 'B']],
  ['what one is answered, the other may not return', { A: 'sends: [hears_a]', B: 'returns: [d]' }, ['A', 'B']],
  ['one may return more', { A: 'reads: [as], returns: [a]', B: 'returns: [a, d]' }, ['A B']],
  ['a category above covers', { A: 'accepts: [a.b], returns: [a]', B: 'returns: [a]' }, ['A B']],
  ['a category below does not', { A: 'accepts: [a], returns: [a]', B: 'returns: [a.b]' }, ['A', 'B']],
  [
    'what one reads, the other may not store',
    { A: 'reads: [as], returns: [a]', B: 'returns: [a], stores: [ds]' },
    ['A', 'B'],
  ],
  [
    'what one reads, the other may not send',
    { A: 'reads: [as], returns: [a]', B: 'returns: [a, d], sends: [hears_d]' },
    ['A', 'B'],
  ],
  [
    'both ways count',
    { A: 'returns: [d], stores: [ds]', B: 'reads: [as], returns: [a, d], stores: [all]' },
    ['A', 'B'],
  ],
  [
    'the same grants share, though their calls know more than they may return',
    { A: 'accepts: [a], returns: [d]', B: 'accepts: [d], returns: [d]', C: 'accepts: [a], returns: [d]' },
    ['A C', 'B'],
  ],
  [
    'each joins the first class with all of which it may share',
    { A: 'accepts: [d], returns: [a, d]', B: 'accepts: [a], returns: [a, d]', C: 'accepts: [a], returns: [a]' },
    ['A B', 'C'],
  ],
] as const) {
  test(name, () => {
    assert.deepEqual(classesOf(policyOf(rules)), expected);
    assert.deepEqual(classesOf(policyOf(Object.fromEntries(Object.entries(rules).reverse()))), expected);
  });
}

test('a release keeps its method for itself', () => {
  const rule = `accepts: [a], returns: [d], sends: [hears_d], interface: "sha256:${'0'.repeat(64)}"`;
  const released = `declassify:
  - { id: r, method: s.S/A, to: hears_d, call: POST /x, build: { t: x }, owner: o, justification: j }`;
  assert.deepEqual(classesOf(policyOf({ A: rule, B: rule })), ['A B']);
  assert.deepEqual(classesOf(policyOf({ A: rule, B: rule }, released)), ['A', 'B']);
});

test('why two may not share is said of the one that learns and the one that tells', () => {
  const policy = policyOf({ A: 'accepts: [a.b, d], returns: [a, d]', B: 'returns: [a, d], stores: [ds]' });
  const [a, b] = methodsOf(policy) as [RuledMethod, RuledMethod];
  const found = { learner: 's.S/A', categories: ['a.b'], teller: 's.S/B', sink: 'store ds' };
  assert.deepEqual(obstacle(policy, a, b), found);
  assert.deepEqual(obstacle(policy, b, a), found);
  assert.equal(obstacle(policy, a, a), undefined);
});

test('known callers bring their category, and are told no more than they receive', () => {
  const access = `access:
  identities:
    i: { category: d, receives: [a], mtls: { ca: "sha256:${'0'.repeat(64)}" } }`;
  const policy = policyOf({ A: 'returns: [a, d]', B: 'accepts: [d], returns: [a, d]', C: 'returns: [a]' }, access);
  const [a, b, c] = methodsOf(policy) as [RuledMethod, RuledMethod, RuledMethod];
  const known = ({ id, rule }: RuledMethod): RuledMethod => ({ id, rule: { ...rule, callers: ['i'] } });
  assert.equal(obstacle(policy, a, b), undefined);
  assert.equal(obstacle(policy, known(a), b)?.sink, 'response to i');
  assert.equal(obstacle(policy, a, c), undefined);
  const learned = { learner: 's.S/A', categories: ['d'], teller: 's.S/C', sink: 'response' };
  assert.deepEqual(obstacle(policy, known(a), c), learned);
});

for (const [what, field] of [
  ['more than it receives', 'string x = 1 [(enclaim.data) = "a"];'],
  ['anything in an Any', 'repeated google.protobuf.Any x = 1 [(enclaim.data) = "d"];'],
] as const) {
  test(`answers of a subprocessor may carry ${what}`, async () => {
    const descriptors = await compileFiles({
      'a.proto': `syntax = "proto3"; package s; import "enclaim/handling.proto"; import "google/protobuf/any.proto";
      message M { string x = 1 [(enclaim.data) = "d"]; }
      message N { ${field} }
      message Held { string x = 1 [(enclaim.data) = "a"]; google.protobuf.Any y = 2 [(enclaim.data) = "d"]; }
      service S {
        rpc A(M) returns (M) { option (enclaim.handling) = { purpose: "p", sends: "hears_d" }; }
        rpc B(M) returns (M) { option (enclaim.handling) = { purpose: "p" }; }
      }
      service Out { option (enclaim.subprocessor) = "hears_d"; rpc Ask(M) returns (N); }`,
    });
    const policy = policyOf({
      A: 'accepts: [d], returns: [d], sends: [hears_d]',
      B: 'accepts: [d], returns: [d]',
    });
    assert.deepEqual(classesOf(policy), ['A B'], 'by the rules alone');
    const { classes, errors } = match(descriptors, policy);
    assert.deepEqual(errors, []);
    assert.deepEqual(
      classes.map(({ methods }) => methods),
      [['s.S/A'], ['s.S/B']],
    );
  });
}

test('a policy that needs too many classes is refused', async () => {
  const names = Array.from({ length: MAX_WORKER_CLASSES + 1 }, (_, i) => `c${i}`);
  const policy = (count: number): Policy =>
    parsePolicy(`enclaim: 1
system: { name: a, owner: { name: A, contact: a }, version: 1 }
data: { ${names.map((name) => `${name}: { description: x }`).join(', ')} }
services:
  s.S: { ${names
    .slice(0, count)
    .map((name) => `${name}: { purpose: p, callers: [anyone], accepts: [${name}], returns: [${name}] }`)
    .join(', ')} }
`);
  const descriptors = await compileFiles({
    'a.proto': `syntax = "proto3"; package s; import "enclaim/handling.proto"; import "google/protobuf/empty.proto";
      service S { ${names.map((name) => `rpc ${name}(google.protobuf.Empty) returns (google.protobuf.Empty) { option (enclaim.handling) = { purpose: "p" }; }`).join(' ')} }`,
  });
  assert.deepEqual(match(descriptors, policy(MAX_WORKER_CLASSES)).errors, []);
  assert.deepEqual(match(descriptors, policy(MAX_WORKER_CLASSES + 1)).errors, [
    {
      pointer: '/services',
      message: 'the methods need 17 classes of worker processes, which share nothing; at most 16 are run',
    },
  ]);
});

/** Whether `decide` lets a method put a category everywhere it may put something. */
function tells(policy: Policy, { id, rule }: RuledMethod, category: string): boolean {
  const sinks: Sink[] = [
    { kind: 'response' },
    ...rule.stores.map((name): Sink => ({ kind: 'store', name })),
    ...rule.sends.map((name): Sink => ({ kind: 'send', name })),
  ];
  const label = new Set([category]);
  return rule.callers.every((identity) =>
    sinks.every((sink) => decide(policy, { identity, method: id, label, sink }, { now: 0 }).allow),
  );
}

test('what a call may learn, every call of its class with other grants is allowed to tell', () => {
  fc.assert(
    fc.property(smallPolicy, (document) => {
      let policy: Policy;
      try {
        policy = parsePolicy(JSON.stringify(document));
      } catch (error) {
        assert(error instanceof PolicyError);
        return;
      }
      const methods = methodsOf(policy);
      const classes = workerClasses(policy, methods);
      const members = classes.flatMap((each) => each.methods);
      assert.deepEqual(members.sort(), methods.map(({ id }) => id).sort(), 'each is in one class');
      assert.deepEqual(workerClasses(policy, methods.toReversed()), classes);
      for (const each of classes) {
        const [a, b] = methods.filter(({ id }) => each.methods.includes(id));
        if (a === undefined || b === undefined || grants(a) === grants(b)) continue;
        for (const { id, rule } of [a, b]) {
          const learned = [
            ...rule.accepts,
            ...rule.reads.flatMap((name) => policy.collections[name]?.holds ?? []),
            ...rule.sends.flatMap((name) => policy.subprocessors[name]?.receives ?? []),
          ];
          const other: RuledMethod = id === a.id ? b : a;
          assert(learned.every((category) => tells(policy, other, category)));
        }
      }
    }),
    { numRuns: count(500, 500, 50) },
  );
});

const grants = ({ rule: { purpose: _, interface: __, ...rest } }: RuledMethod): string => JSON.stringify(rest);
