/**
 * Controls have their frameworks and titles, and each claim says how strongly it holds and what it
 * covers.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLAIM_KINDS, CONTROLS, coverageOf, FRAMEWORKS, strengthOf } from '../src/claims.ts';
import { checkPolicy } from '../src/index.ts';
import { BASE } from './base-policy.ts';

test('every control is of a framework that has a name, in the form that policies write', () => {
  const used = new Set<string>();
  for (const [id, title] of CONTROLS) {
    const [framework = '', control = ''] = id.split('/');
    used.add(framework);
    assert.ok(framework in FRAMEWORKS, id);
    assert.match(control, /^[a-z0-9]+(?:[.-][a-z0-9]+)*$/);
    assert.match(title, /^\S.*\S$/);
  }
  assert.deepEqual([...used].sort(), Object.keys(FRAMEWORKS).sort());
});

test('the tables of whole frameworks are whole', () => {
  const count = (shape: RegExp): number => [...CONTROLS.keys()].filter((id) => shape.test(id)).length;
  // ISO/IEC 27001:2022, Annex A: 37 organizational, 8 people, 14 physical, 34 technological controls.
  assert.deepEqual(
    [5, 6, 7, 8].map((theme) => count(new RegExp(`^iso27001/a\\.${theme}\\.`))),
    [37, 8, 14, 34],
  );
  // SOC 2: 33 common criteria; availability 3, confidentiality 2, processing integrity 5, privacy 18.
  assert.deepEqual(
    ['cc', 'a', 'c', 'pi', 'p'].map((series) => count(new RegExp(`^soc2/${series}\\d`))),
    [33, 3, 2, 5, 18],
  );
  // NIS2, Article 21(2)(a) to (j).
  assert.equal(count(/^nis2\/art\.21\.2\.[a-j]$/), 10);
});

test('each control of the table can be written in a policy without a warning', () => {
  const ids = [...CONTROLS.keys()];
  const { policy, issues } = checkPolicy(BASE.replace('controls: [soc2/cc6.1]', `controls: [${ids.join(', ')}]`));
  assert.deepEqual([policy?.claims.find(({ id }) => id === 'rest')?.controls.length, issues], [ids.length, []]);
});

test('each kind of claim has a strength under a policy that makes it', () => {
  const { policy } = checkPolicy(BASE);
  assert.ok(policy);
  const strengths = Object.fromEntries(
    Object.keys(CLAIM_KINDS).map((kind) => [kind, strengthOf(kind as keyof typeof CLAIM_KINDS, policy)]),
  );
  assert.deepEqual(strengths, {
    'access-logged': 'asserted',
    'audited-system': 'measured',
    'authorised-access': 'enforced',
    'bounded-resources': 'enforced',
    'deleted-after-retention': 'asserted',
    'encryption-at-rest': 'asserted',
    'local-first': 'enforced',
    'no-leakage': 'observed',
    'no-undisclosed-recipients': 'enforced',
    residency: 'asserted',
    'subprocessors-assured': 'asserted',
  });
});

test('each claim says what it covers, in figures and names', () => {
  const { policy } = checkPolicy(BASE);
  assert.ok(policy);
  assert.deepEqual(Object.fromEntries(policy.claims.map((claim) => [claim.kind, coverageOf(policy, claim)])), {
    'access-logged':
      'each call is on stable storage before its response leaves, and is kept without an end; reviewed every P30D by 1 key',
    'audited-system':
      'the image and this policy; stored data passes to another by 2 of 2 signatures, to a weaker one or another image P7D ahead, and to another address by one',
    'authorised-access': '2 methods, for callers known as staff, as the rules and Cedar text of the policy say',
    'bounded-resources':
      'a request has at most 256MiB, 500ms of processor and 5s; 64 at once; none is admitted above a pressure of 20 (memory) or 60 (cpu)',
    'deleted-after-retention':
      'records of cases after P30D; from older copies of the disk within PT10M more, while the system runs; not what callers and subprocessors were given',
    'encryption-at-rest': 'records of cases',
    'local-first': 'a request makes at most 1 calls to others, and none that brings its score under 80 percent',
    'no-leakage':
      'credential, email, iban, payment-card on egress, log, response, in the encodings promised of detectors; others pass; OVR-7 suspends leaks.email on c.v1.Intake/Submit until 2026-12-31',
    'no-undisclosed-recipients': 'besides callers: mailer (https://mail.example.eu) gets personal.email',
    residency:
      'the system and its subprocessors are in eu-central, eu-west, as GCE and this list say; callers may be anywhere',
    'subprocessors-assured': 'mailer by soc2-type2 until 2027-03-31',
  });
});

test('an assurance that vouches for longer than any document does is refused on the day of the check', () => {
  const far = BASE.replace('validUntil: "2027-03-31"', 'validUntil: "9999-12-31"');
  const { policy, issues } = checkPolicy(far, { asOf: Date.parse('2026-12-01') });
  assert.deepEqual(
    [policy, issues.map(({ code, pointer }) => [code, pointer])],
    [undefined, [['unbacked', '/subprocessors/mailer/assurance/validUntil']]],
  );
  assert.ok(checkPolicy(BASE, { asOf: Date.parse('2026-12-01') }).policy);
});
