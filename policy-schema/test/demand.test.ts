/** A demand is met exactly where the policy states it, and text that is none is refused. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accept, PolicyError, parseDemand, parsePolicy, policyDigest } from '../src/index.ts';
import { BASE } from './base-policy.ts';

const policy = parsePolicy(BASE);

/** A demand, and what is found of the base policy: "yes" or "no", its strength, and what the policy says. */
const DEMANDS: readonly (readonly [demand: string, result: string])[] = [
  ['claim encryption-at-rest', 'yes asserted claimed'],
  ['claim encryption-at-rest at least enforced', 'no asserted claimed'],
  ['claim  local-first   at   least enforced', 'yes enforced claimed'],
  ['claim encryption-at-rest at least measured', 'no asserted claimed'],
  ['claim audited-system at least measured', 'yes measured claimed'],
  ['claim access-logged at least enforced', 'no asserted claimed'],
  ['claim residency', 'yes asserted claimed'],
  ['claim encryption-at-rest for personal.health', 'yes asserted claimed'],
  ['claim deleted-after-retention', 'no asserted claimed for personal.health'],
  ['claim deleted-after-retention for personal.health', 'yes asserted claimed for personal.health'],
  ['claim deleted-after-retention for personal.health, personal.email', 'no asserted claimed for personal.health'],
  ['claim deleted-after-retention for personal', 'no asserted claimed for personal.health'],
  ['claim deleted-after-retention for weather', 'no measured the policy knows no weather'],
  // The base policy suspends leaks.email, on which this claim rests.
  ['claim no-leakage', 'no observed claimed, suspended in part by OVR-7'],
  ['claim no-leakage at least enforced', 'no observed claimed, suspended in part by OVR-7'],
  ['claim bounded-resources', 'yes enforced claimed'],
  ['retention(personal.health) <= P30D', 'yes enforced cases: P30D'],
  ['retention(personal.health) <= PT720H', 'yes enforced cases: P30D'],
  ['retention(personal.health) <= P29D', 'no enforced cases: P30D'],
  ['retention(personal) <= P30D', 'yes enforced cases: P30D'],
  ['retention(personal.email) <= P1D', 'yes enforced not kept'],
  ['retention(operational) <= P100Y', 'no enforced ids: unlimited'],
  ['retention(weather) <= P1D', 'no measured the policy knows no weather'],
  ['recipients(personal.email) subset [mailer]', 'yes enforced mailer (https://mail.example.eu)'],
  ['recipients(personal.email) subset [https://mail.example.eu]', 'yes enforced mailer (https://mail.example.eu)'],
  ['recipients(personal.email) subset []', 'no enforced mailer (https://mail.example.eu)'],
  ['recipients(personal) subset []', 'no enforced mailer (https://mail.example.eu)'],
  ['recipients(personal.health) subset []', 'yes enforced none'],
  ['recipients(personal.helth) subset []', 'no measured the policy knows no personal.helth'],
  ['readers(personal.health) subset [staff]', 'yes enforced staff'],
  ['readers(personal.health) subset []', 'no enforced staff'],
  ['readers(personal.email) subset []', 'yes enforced none'],
  ['purposes(personal.health) subset [care, research]', 'yes asserted care'],
  ['purposes(personal.health) subset [research]', 'no asserted care'],
  ['callers(c.v1.Intake/Read) subset [staff]', 'yes enforced staff'],
  ['callers(c.v1.Intake/Read) subset [partner]', 'no enforced staff'],
  ['callers(c.v1.Intake/Raed) subset []', 'no measured the policy knows no c.v1.Intake/Raed'],
  ['attested(personal)', 'no enforced on any connection: c.v1.Intake/Read, c.v1.Intake/Submit'],
  ['attested(personal.helth)', 'no measured the policy knows no personal.helth'],
  ['regions subset [eu-west, eu-central]', 'yes asserted eu-central, eu-west'],
  ['regions subset [eu-west]', 'no asserted eu-central, eu-west'],
  ['sovereignty >= 80', 'yes enforced at least 80'],
  ['sovereignty >= 81', 'no enforced at least 80'],
  ['minScore >= 80', 'yes enforced at least 80'],
  ['minScore >= 81', 'no enforced at least 80'],
  ['externalCalls <= 1', 'yes enforced at most 1'],
  ['externalCalls <= 0', 'no enforced at most 1'],
  ['leaks(response) superset [credential, iban]', 'yes enforced credential, email, iban, payment-card'],
  ['leaks( log ) superset []', 'yes enforced credential, email, iban, payment-card'],
  ['leaks(egress) superset [exact-match]', 'no enforced credential, email, iban, payment-card'],
  // Suspended, and so not looked for everywhere.
  ['leaks(egress) superset [email]', 'no enforced credential, email, iban, payment-card, suspended in part by OVR-7'],
  ['memory <= 256MiB', 'yes enforced at most 256MiB'],
  ['memory <= 255MiB', 'no enforced at most 256MiB'],
  ['memory <= 1GiB', 'yes enforced at most 256MiB'],
  ['cpu <= 500ms', 'yes enforced at most 500ms'],
  ['cpu <= 499ms', 'no enforced at most 500ms'],
  ['wall <= 5s', 'yes enforced at most 5s'],
  ['wall<=4999ms', 'no enforced at most 5s'],
  ['inFlight <= 64', 'yes enforced at most 64'],
  ['inFlight <= 63', 'no enforced at most 64'],
  ['review <= P30D', 'yes asserted every P30D'],
  ['review <= P29D', 'no asserted every P30D'],
  ['logRetention >= P7Y', 'yes enforced unlimited'],
  ['notice >= P7D', 'yes measured P7D'],
  ['notice >= P8D', 'no measured P7D'],
  ['signatures >= 2', 'yes measured 2'],
  ['signatures >= 3', 'no measured 2'],
  ['durability before-response', 'yes enforced before-response'],
  ['overrides none', 'no measured OVR-7 suspends leaks.email until 2026-12-31'],
  [`neverWeakerThan ${policyDigest(policy)}`, 'yes measured the same policy'],
  [`neverWeakerThan: ${policyDigest(policy)}`, 'yes measured the same policy'],
];

for (const [demand, expected] of DEMANDS) {
  test(`${demand.length > 80 ? `${demand.slice(0, 80)}…` : demand}`, () => {
    const [result] = accept(policy, [parseDemand(demand)]);
    assert.ok(result);
    // What a claim covers is in the sentence, too; `control.test.ts` has those.
    const found = result.found.replace(/^(claimed[^:]*): .+$/s, '$1');
    assert.equal(`${result.ok ? 'yes' : 'no'} ${result.strength} ${found}`, expected);
  });
}

test('nothing is met by a policy that says nothing', () => {
  const bare = parsePolicy('enclaim: 1\nsystem: { name: a, owner: { name: A, contact: a }, version: 1 }\n');
  const met = DEMANDS.filter(([demand]) => accept(bare, [parseDemand(demand)])[0]?.ok).map(([demand]) => demand);
  // Its defaults are the strict ones: it has no subprocessors, keeps its log for good, and dies with its policy.
  assert.deepEqual(met, [
    'externalCalls <= 1',
    'externalCalls <= 0',
    'leaks( log ) superset []',
    'logRetention >= P7Y',
    'notice >= P7D',
    'notice >= P8D',
    'signatures >= 2',
    'signatures >= 3',
    'durability before-response',
    'overrides none',
  ]);
});

const NONE = [
  '',
  'claim',
  'claim nothing',
  'claim residency at least certain',
  'retention(a) < P1D',
  'retention(a) <= 30',
  'retention() <= P1D',
  'recipients(a) subset mailer',
  'regions [eu]',
  'memory <= 256MB',
  'memory <= 500ms',
  'cpu <= 5',
  'cpu >= 5s',
  'minScore <= 80',
  'externalCalls >= 1',
  'leaks superset [email]',
  'leaks(mail) superset [email]',
  'leaks(egress) superset [emial]',
  'leaks(egress) subset [email]',
  'review >= P30D',
  'notice <= P1D',
  'sovereignty >= 8.5',
  'overrides some',
  'neverWeakerThan sha256:00',
  'regions subset [eu] or else',
  'Claim residency',
  `regions subset [${'a,'.repeat(5000)}]`,
];

for (const text of NONE) {
  test(`not a demand: ${text.slice(0, 40)}`, () => {
    assert.throws(
      () => parseDemand(text),
      (error) => error instanceof PolicyError && error.code === 'demand',
    );
  });
}

test('a slip of the pen is pointed out', () => {
  assert.throws(() => parseDemand('retenton(a) <= P1D'), /did you mean "retention"/);
  assert.throws(() => parseDemand('claim encryption-at-reset'), /did you mean "encryption-at-rest"/);
});

test('a weaker successor is refused with what got weaker, one by one', () => {
  const weaker = parsePolicy(BASE.replace('retention: P30D', 'retention: P90D'));
  const [unknown] = accept(weaker, [parseDemand(`neverWeakerThan ${policyDigest(policy)}`)]);
  assert.deepEqual([unknown?.ok, unknown?.found.includes('not at hand')], [false, true]);
  const [known] = accept(weaker, [parseDemand(`neverWeakerThan ${policyDigest(policy)}`)], { known: [policy] });
  assert.deepEqual([known?.ok, known?.found], [false, 'weaker; cases is kept for at most P90D, before P30D']);
  const [back] = accept(policy, [parseDemand(`neverWeakerThan ${policyDigest(weaker)}`)], { known: [weaker] });
  assert.deepEqual([back?.ok, back?.found], [true, 'stronger']);
});

test('an override of a limit fails the demand for that limit, and no other', () => {
  const suspended = parsePolicy(
    BASE.replace('suspends: leaks.email', 'suspends: resources.wall').replace('OVR-7', 'OVR-8'),
  );
  const results = accept(suspended, ['wall <= 5s', 'cpu <= 500ms', 'leaks(egress) superset [email]'].map(parseDemand));
  assert.deepEqual(
    results.map(({ ok }) => ok),
    [false, true, true],
  );
});
