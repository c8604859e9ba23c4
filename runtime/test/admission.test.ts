/** Admission: what fits is served, and a policy with a sentence that nothing holds is refused whole. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { compileProtos } from '@enclaim/image';
import { canonicalPolicy, match, parsePolicy, policyDigest, readDescriptors } from '@enclaim/policy-schema';
import { admit } from '../src/admission/admission.ts';
import { RefusalError } from '../src/errors.ts';

const clinic = join(import.meta.dirname, '../../examples/clinic');
const POLICY = readFileSync(join(clinic, 'policy.yaml'), 'utf8');
const RESIDENCY = `residency: { regions: [eu-west], witness: { name: W, kind: gcp-instance-identity, key: "sha256:${'0'.repeat(64)}" } }\n`;
let descriptors: Uint8Array;
before(async () => {
  descriptors = await compileProtos(join(clinic, 'proto'));
});

/** Admits the clinic's policy with one text replaced. */
function admitWith(from: string, to: string) {
  const source = POLICY.replace(from, to);
  assert(from === '' || source !== POLICY, 'the change changes something');
  const policy = parsePolicy(source);
  return admit(canonicalPolicy(policy), descriptors, policyDigest(policy));
}

test('the clinic: what fits is exposed, the rest withheld with a reason', () => {
  const { exposed, withheld } = admitWith('', '');
  assert.deepEqual(exposed.map(({ id }) => id).sort(), ['clinic.v1.Intake/Read', 'clinic.v1.Intake/Submit']);
  assert.deepEqual(
    withheld.map(({ method }) => method),
    ['clinic.v1.Marketing/ExportContacts'],
  );
  assert.match(withheld[0]?.reasons.join() ?? '', /no rule/);
});

test('another policy than the measured one is refused before it is looked at', () => {
  const measured = policyDigest(parsePolicy(POLICY));
  const other = canonicalPolicy(parsePolicy(POLICY.replace('before a visit.', 'before a visit!')));
  const refused = (error: unknown) => error instanceof RefusalError && error.code === 'policy';
  assert.throws(() => admit(other, descriptors, measured), refused);
  assert.throws(() => admit(new Uint8Array([0xff]), descriptors, measured), refused);
});

for (const [name, from, to, pointer] of [
  [
    'a claim of a kind that nothing holds',
    'claims:\n',
    `${RESIDENCY}claims:\n  - { id: here, kind: residency, statement: Here. }\n`,
    '/residency',
  ],
  [
    'more claims than a record can name',
    'claims:\n',
    `claims:\n${Array.from({ length: 256 }, (_, i) => `  - { id: same-${i}, kind: audited-system, statement: The same. }\n`).join('')}`,
    '/claims',
  ],
  [
    'a peer that would have to be attested',
    'claims:\n',
    `subprocessors:\n  peer: { address: https://peer.example, region: r, identity: { attested: { policy: "sha384:${'0'.repeat(96)}", image: any } } }\nclaims:\n`,
    '/subprocessors/peer/identity/attested',
  ],
] as const) {
  test(`a policy with ${name} is refused whole`, () => {
    assert.throws(
      () => admitWith(from, to),
      (error) => error instanceof RefusalError && error.code === 'claim' && error.pointer === pointer,
    );
  });
}

for (const service of [
  'enclaim.v1.Log',
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]) {
  test(`a policy that exposes ${service}, which needs no receipt, is refused`, async () => {
    const [, packageName = '', name = ''] = /^(.+)\.(\w+)$/.exec(service) ?? [];
    const source = `syntax = "proto3"; package ${packageName};
      import "enclaim/handling.proto"; import "google/protobuf/empty.proto";
      service ${name} { rpc Submit(google.protobuf.Empty) returns (google.protobuf.Empty) {
        option (enclaim.handling) = { purpose: "care" stores: ["cases"] }; } }`;
    const folder = await mkdtemp(join(tmpdir(), 'enclaim-admission-'));
    await writeFile(join(folder, 'own.proto'), source);
    const own = await compileProtos(folder).finally(() => rm(folder, { recursive: true }));
    const policy = parsePolicy(POLICY.replaceAll('clinic.v1.Intake', service));
    assert.deepEqual(
      match(readDescriptors(own), policy).exposed.map(({ id }) => id),
      [`${service}/Submit`],
      'it fits',
    );
    assert.throws(
      () => admit(canonicalPolicy(policy), own, policyDigest(policy)),
      (error) => error instanceof RefusalError && error.code === 'descriptors' && error.message.includes(service),
    );
  });
}

test('the full policy, whose sentences are not all held, is refused with all of them at once', () => {
  const policy = parsePolicy(readFileSync(join(clinic, 'policy.full.yaml'), 'utf8'));
  assert.throws(
    () => admit(canonicalPolicy(policy), descriptors, policyDigest(policy)),
    (error) =>
      error instanceof RefusalError &&
      error.code === 'claim' &&
      /callers of clinic\.v1\.Intake\/Read that .*; this runtime does not hold claim region of kind residency/.test(
        error.message,
      ),
  );
});

test('more reasons than are told are counted, and the text stays what a supervisor takes', () => {
  const names = Array.from({ length: 40 }, (_, i) => `peer${i}`);
  const attested = `{ attested: { policy: "sha384:${'0'.repeat(96)}", image: any } }`;
  const peers = names.map(
    (name) => `  ${name}: { address: https://${name}.example, region: r, identity: ${attested} }\n`,
  );
  const source = POLICY.replace('claims:\n', `subprocessors:\n${peers.join('')}claims:\n`);
  const policy = parsePolicy(source);
  assert.throws(
    () => admit(canonicalPolicy(policy), descriptors, policyDigest(policy)),
    (error) => {
      const { message } = error as RefusalError;
      const told = message.split('; ').filter((each) => /subprocessor peer/.test(each)).length;
      return told > 5 && message.endsWith(`and ${names.length - told} more`) && message.length <= 1000;
    },
  );
});

test('budgets that no request could be given are refused with the rest', () => {
  const resources = 'resources: { memory: 2GiB, cpu: 1s, wall: 5s, inFlight: 4, pressure: { memory: 20, cpu: 60 } }';
  const source = POLICY.replace('claims:\n', `${RESIDENCY}governance: { ${resources} }\nclaims:\n`);
  const policy = parsePolicy(source);
  const capacity = { memory: 256 * 1024 * 1024, processors: 1 };
  assert.throws(
    () => admit(canonicalPolicy(policy), descriptors, policyDigest(policy), capacity),
    (error) =>
      error instanceof RefusalError && /does not hold residency.*Intake\/Read declares 2097152 KiB/.test(error.message),
  );
});

const NOTIFY = readFileSync(join(clinic, 'policy.notify.yaml'), 'utf8');

function admitNotify(from = '', to = '') {
  const source = NOTIFY.replace(from, to);
  assert(from === '' || source !== NOTIFY, 'the change changes something');
  const policy = parsePolicy(source);
  return admit(canonicalPolicy(policy), descriptors, policyDigest(policy));
}

test('a policy with a subprocessor, a release and a score is held', () => {
  const { exposed, releases } = admitNotify();
  assert.deepEqual(exposed.map(({ id }) => id).sort(), ['clinic.v1.Intake/Read', 'clinic.v1.Intake/Submit']);
  assert.deepEqual([...releases.keys()], ['notify']);
});

for (const [name, from, to, pattern] of [
  ['calls a method that no .proto has', 'POST /v1/send', 'mail.v1.Mail/Send', /has a unary method/],
  ['calls a method that streams', 'POST /v1/send', 'clinic.v1.Marketing/ExportContacts', /has a unary method/],
  ['sets what the method does not take', 'POST /v1/send', 'clinic.v1.Intake/Read', /takes no single value template/],
  [
    'takes what its receiver may not have',
    '$request.receipt_email',
    '$request.patient.birth_date',
    /carries personal.identity/,
  ],
] as const) {
  test(`a release that ${name} is refused whole`, () => {
    assert.throws(
      () => admitNotify(from, to),
      (error) => error instanceof RefusalError && error.code === 'descriptors' && pattern.test(error.message),
    );
  });
}

test('a subprocessor outside the regions is no policy', () => {
  assert.throws(
    () => admitNotify('claims:\n', 'residency: { regions: [eu-central] }\nclaims:\n'),
    /outside residency.regions/,
  );
});
