/** `enclaim policy` shows, explains and digests a policy, wherever it is held. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '@enclaim/client';
import { buildBundle, findApp } from '@enclaim/image';
import { type ClaimKind, digestOfCanonical } from '@enclaim/policy-schema/admission';
import { CLAIM_KINDS } from '@enclaim/policy-schema/claims';
import { HELD_CLAIMS } from '@enclaim/runtime/hindrances';
import { volatileClinic } from '../../../test/support/app.ts';
import { startPretendServer } from '../../../test/support/pretend-server.ts';
import { CLINIC, clinic, enclaim, folder } from './run-command.ts';

test('policy show writes out every default, and the schema is JSON', async () => {
  const made = folder();
  writeFileSync(join(made, 'policy.json'), (await enclaim(CLINIC, 'policy', 'show')).out);
  const digests = [await enclaim(made, 'policy', 'digest', 'policy.json'), await enclaim(CLINIC, 'policy', 'digest')];
  assert.equal(digests[0]?.out, digests[1]?.out);
  assert.equal(
    (JSON.parse((await enclaim(made, 'policy', 'schema')).out) as { title: string }).title,
    'Enclaim policy',
  );
});

test('policy show --canonical writes the bytes of the digest', async () => {
  // In a process of its own: standard output belongs to the test runner here.
  const program = `
    import { Command } from 'commander';
    import { register } from ${JSON.stringify(join(import.meta.dirname, '../../src/policy/policy.ts'))};
    const program = new Command();
    register(program);
    await program.parseAsync(['policy', 'show', '--canonical'], { from: 'user' });`;
  const bytes = execFileSync(process.execPath, ['--input-type=module', '--eval', program], { cwd: join(CLINIC) });
  assert.equal(`${digestOfCanonical(bytes)}\n`, (await enclaim(CLINIC, 'policy', 'digest')).out);
});

test('policy explain tells which methods share workers, and why others do not', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'workers');
  assert.match(out, /^workers {3}2 classes$/m);
  assert.match(out, /^class 1 {3}clinic\.v1\.Intake\/Read$/m);
  assert.match(
    out,
    /^apart {5}from class 1: clinic\.v1\.Intake\/Read may learn personal\.contact, .*, which clinic\.v1\.Intake\/Submit may not put there: response$/m,
  );
});

test('explain log says when records are under a quote, and what happens without one', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'log');
  assert.match(out, /^quoted {7}by the hardware within 1000 ms; without a quote for ten times as long, .* refused$/m);
});

test('policy explain tells what a claim rests on, with a policy or without', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'access-log');
  assert.match(out, /^strength {2}review: asserted$/m);
  assert.match(out, /^answers {3}soc2\/cc7\.2 Monitoring/m);
  assert.match((await enclaim(folder(), 'policy', 'explain', 'residency')).out, /^needs {5}residency with regions/m);
  assert.equal((await enclaim(CLINIC, 'policy', 'explain', 'nothing')).status, 2);
});

test('policy explain lists all claims by strength and by control, and what none of them is about', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'explain', 'policy.full.yaml');
  assert.match(out, /^measured {2}one-system +audited-system/m);
  assert.match(out, /^not held {2}authorised +authorised-access/m);
  assert.match(out, /^gdpr\/art\.28 +no-sharing \(enforced\), subprocessors \(asserted\) Processor$/m);
  assert.match(out, /kinds none is made: bounded-resources, local-first, no-leakage$/m);
  const narrow = clinic();
  const path = join(narrow, 'policy.yaml');
  const about = 'data: [personal.health], controls: [';
  writeFileSync(path, readFileSync(path, 'utf8').replaceAll('    controls: [', `    ${about.replace(', ', '\n    ')}`));
  const overview = JSON.parse((await enclaim(narrow, 'policy', 'explain', '--json')).out);
  assert.deepEqual(overview.uncovered, {
    categories: ['operational', 'personal.contact', 'personal.contact.email', 'personal.identity'],
    methods: ['clinic.v1.Intake/Read', 'clinic.v1.Intake/Submit'],
    collections: ['cases'],
  });
  assert.equal(overview.claims.length, 3);
  assert.equal((await enclaim(narrow, 'policy', 'explain', 'access-log', '--json')).status, 2);
});

test('policy show, digest, explain and diff read the policy that a bundle, evidence or a receipt holds', async () => {
  const made = await clinicOfServer();
  const { bytes } = await buildBundle(await findApp(made));
  const server = await startPretendServer();
  const channel = await connect(server.target, { references: server.references });
  channel.close();
  const { evidence } = channel.attestation;
  await server.stop();
  const receipt = {
    enclaim: 'receipt/1',
    receipt: 'AA==',
    messages: null,
    evidence: Buffer.from(evidence).toString('base64'),
  };
  for (const [name, content] of [
    ['app.enclaim', bytes],
    ['saved.evidence', evidence],
    ['a.enclaim-receipt', JSON.stringify(receipt, null, 2)],
    ['references.json', JSON.stringify(server.references)],
  ] as const)
    writeFileSync(join(made, name), content);
  const own = (await enclaim(made, 'policy', 'digest')).out;
  assert.match(own, /^sha384:/);
  for (const holder of ['app.enclaim', 'saved.evidence', 'a.enclaim-receipt']) {
    assert.equal((await enclaim(made, 'policy', 'digest', holder)).out, own, holder);
    assert.match((await enclaim(made, 'policy', 'show', holder)).out, /"purpose": "care"/);
    assert.match((await enclaim(made, 'policy', 'explain', holder)).out, /^claims of sha384:/);
    assert.match((await enclaim(made, 'diff', holder, '--fail-on', 'weaker')).out, /^verdict equal|equal/m);
    const trusted = ['--references', 'references.json'];
    assert.equal((await enclaim(made, 'policy', 'digest', holder, ...trusted)).out, own, holder);
  }
  const stranger = { ...server.references, anchors: { ...server.references.anchors, attestationKeys: [] } };
  writeFileSync(join(made, 'references.json'), JSON.stringify(stranger));
  const refused = await enclaim(made, 'policy', 'digest', 'saved.evidence', '--references', 'references.json');
  assert.deepEqual([refused.status, refused.out], [1, '']);
  writeFileSync(join(made, 'cut.evidence'), Buffer.from(evidence).subarray(0, 999));
  assert.equal((await enclaim(made, 'policy', 'show', 'cut.evidence')).status, 1);
  for (const words of [
    ['policy', 'digest', '127.0.0.1:1'],
    ['policy', 'explain', 'x.example:443'],
    ['diff', '[::1]:1'],
  ])
    assert.match((await enclaim(made, ...words)).err, /needs --references/);
});

test('policy digest asks a running machine for its policy, and takes no stranger at their word', async () => {
  const server = await startPretendServer();
  const made = await clinicOfServer();
  try {
    writeFileSync(join(made, 'references.json'), JSON.stringify(server.references));
    const asked = await enclaim(made, 'policy', 'digest', server.target, '--references', 'references.json');
    assert.equal(asked.out, (await enclaim(made, 'policy', 'digest')).out, asked.err);
    const none = { ...server.references, anchors: { ...server.references.anchors, attestationKeys: [] } };
    writeFileSync(join(made, 'references.json'), JSON.stringify(none));
    assert.equal((await enclaim(made, 'policy', 'digest', server.target, '--references', 'references.json')).status, 1);
  } finally {
    await server.stop();
  }
});

test('policy explain and docs/policy/claims.md say "enforced" of no claim that a boot refuses', async () => {
  const table = readFileSync(join(CLINIC, '../../docs/policy/claims.md'), 'utf8');
  for (const kind of Object.keys(CLAIM_KINDS) as ClaimKind[]) {
    const { out } = await enclaim(CLINIC, 'policy', 'explain', kind);
    const row = table.split('\n').find((line) => line.startsWith(`| ${kind} |`)) ?? '';
    const held = HELD_CLAIMS.has(kind);
    assert.equal(/by nothing yet/.test(out), !held, `explain ${kind}`);
    assert.equal(/^strength/m.test(out), held, `explain ${kind}`);
    assert.equal(/not held yet \|$/.test(row), !held, `docs/policy/claims.md ${kind}`);
  }
});

test('policy interfaces prints what the clinic pins', async () => {
  const { out } = await enclaim(CLINIC, 'policy', 'interfaces');
  const full = readFileSync(join(CLINIC, 'policy.full.yaml'), 'utf8');
  const pins = [...full.matchAll(/interface: (sha256:[0-9a-f]{64})/g)].map(([, pin]) => pin);
  assert.deepEqual(
    pins,
    out
      .split('\n')
      .filter((line) => line.includes('.Intake/'))
      .map((line) => line.split(' ')[0]),
  );
});

/** A copy of the clinic under the policy that the pretend server runs: it has no keeper of keys. */
async function clinicOfServer(): Promise<string> {
  const made = clinic();
  writeFileSync(join(made, 'policy.yaml'), await volatileClinic());
  return made;
}
