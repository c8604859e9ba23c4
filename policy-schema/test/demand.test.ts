import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accept, PolicyError, parseDemand, parsePolicy, policyDigest } from '../src/index.ts';
import { BASE } from './base-policy.ts';

const policy = parsePolicy(BASE);

/** A demand, and what is found of the base policy: "yes" or "no", its strength, and what the policy says. */
const DEMANDS: readonly (readonly [demand: string, result: string])[] = [
  ['claim encryption-at-rest', 'yes enforced claimed'],
  ['claim  encryption-at-rest   at   least enforced', 'yes enforced claimed'],
  ['claim encryption-at-rest at least measured', 'no enforced claimed'],
  ['claim audited-system at least measured', 'yes measured claimed'],
  ['claim access-logged at least enforced', 'no observed claimed'],
  ['claim residency', 'yes asserted claimed'],
  ['claim encryption-at-rest for personal.health', 'yes enforced claimed'],
  ['claim deleted-after-retention', 'no enforced claimed for personal.health'],
  ['claim deleted-after-retention for personal.health', 'yes enforced claimed for personal.health'],
  ['claim deleted-after-retention for personal.health, personal.email', 'no enforced claimed for personal.health'],
  ['claim deleted-after-retention for personal', 'no enforced claimed for personal.health'],
  ['claim deleted-after-retention for weather', 'no measured the policy knows no weather'],
  // The base policy suspends leaks.email, on which this claim rests.
  ['claim no-leakage', 'no enforced claimed, suspended in part by OVR-7'],
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
  ['regions subset [eu-west, eu-central]', 'yes asserted eu-central, eu-west'],
  ['regions subset [eu-west]', 'no asserted eu-central, eu-west'],
  ['sovereignty >= 80', 'yes enforced at least 80'],
  ['sovereignty >= 81', 'no enforced at least 80'],
  ['durability before-response', 'yes enforced before-response'],
  ['overrides none', 'no measured OVR-7 suspends leaks.email until 2026-12-31'],
  [`neverWeakerThan ${policyDigest(policy)}`, 'yes measured the same policy'],
  [`neverWeakerThan: ${policyDigest(policy)}`, 'yes measured the same policy'],
];

for (const [demand, expected] of DEMANDS) {
  test(`${demand.length > 80 ? `${demand.slice(0, 80)}…` : demand}`, () => {
    const [result] = accept(policy, [parseDemand(demand)]);
    assert.ok(result);
    assert.equal(`${result.ok ? 'yes' : 'no'} ${result.strength} ${result.found}`, expected);
  });
}

test('nothing is met by a policy that says nothing', () => {
  const bare = parsePolicy('enclaim: 1\nsystem: { name: a, owner: { name: A, contact: a }, version: 1 }\n');
  const met = DEMANDS.filter(([demand]) => accept(bare, [parseDemand(demand)])[0]?.ok).map(([demand]) => demand);
  // Its defaults are the strict ones.
  assert.deepEqual(met, ['durability before-response', 'overrides none']);
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
