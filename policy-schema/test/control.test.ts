import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLAIM_KINDS, CONTROLS, checkPolicy, FRAMEWORKS, strengthOf } from '../src/index.ts';
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
    'access-logged': 'observed',
    'audited-system': 'measured',
    'authorised-access': 'enforced',
    'bounded-resources': 'enforced',
    'deleted-after-retention': 'enforced',
    'encryption-at-rest': 'enforced',
    'local-first': 'enforced',
    'no-leakage': 'enforced',
    'no-undisclosed-recipients': 'enforced',
    residency: 'asserted',
    'subprocessors-assured': 'asserted',
  });
});
