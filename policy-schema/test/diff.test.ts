/** Every change of a policy has its direction, and the whole is weaker if anything is. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonicalPolicy, checkPolicy, decodePolicy, diff, type Policy, policyDigest } from '../src/index.ts';
import { BASE, hex, key } from './base-policy.ts';

/** The base policy with text replaced. What it is held against may be incoherent in its claims; what is compared is not. */
function edited(...edits: readonly (readonly [from: string, to: string])[]): Policy {
  const text = edits.reduce((before, [from, to]) => {
    assert.ok(before.includes(from), `the base policy has ${from}`);
    return before.replace(from, () => to);
  }, BASE);
  const { policy, issues } = checkPolicy(text);
  assert.ok(policy, JSON.stringify(issues));
  return policy;
}

type Edit = readonly [from: string, to: string];

const without = (kind: string, id: string, statement: string, more = ''): Edit => [
  `  - { id: ${id}, kind: ${kind}, statement: ${statement}${more} }\n`,
  '',
];
const OWNED: Edit = ['contact: a@clinic.example', `contact: a@clinic.example, key: "${key('D')}"`];
const noWho = without('authorised-access', 'who', 'Authorised.');

/** Each change, and what is said of it, as "direction sentence". */
const CHANGES: readonly (readonly [edits: readonly Edit[], changes: readonly string[]])[] = [
  [[['version: 3', 'version: 4']], ['equal the version is 4, before 3']],
  [[['  review:', '  events: [case-closed]\n  review:']], ['weaker handlers may now also put on record case-closed']],
  [[['name: clinic', 'name: other']], ['incomparable the name of the system is other, before clinic']],
  [[['name: Clinic', 'name: Other']], ['incomparable the owner is Other, before Clinic']],
  [
    [['description: notes', 'description: diaries']],
    ['equal the description of personal.health is diaries, before notes'],
  ],
  [
    [['description: e-mail, subjects: [patient]', 'description: e-mail, subjects: [patient, guardian]']],
    ['incomparable whom personal.email is about is ["guardian","patient"], before ["patient"]'],
  ],
  [
    [
      OWNED,
      ['receives: [personal.email]', 'receives: [personal.email]\n    credential: { header: x-key, secret: token }'],
    ],
    [
      `incomparable the owner's key is ${key('D')}, before none`,
      'incomparable what is shown to mailer is {"header":"x-key","secret":"token"}, before nothing',
    ],
  ],
  [
    [['  operational: {', '  personal.phone: { description: telephone }\n  operational: {']],
    [
      'equal the vocabulary does now also have personal.phone',
      'weaker c.v1.Intake/Submit may now also accept personal.phone',
      'weaker staff may now also receive personal.phone',
    ],
  ],
  [
    [['    Read: { purpose: care', '    Export: { purpose: x, callers: [] }\n    Read: { purpose: care']],
    ['weaker the system may now also answer c.v1.Intake/Export'],
  ],
  [
    [['purpose: care, callers: [staff], accepts: [op', 'purpose: research, callers: [staff], accepts: [op']],
    ['incomparable the purpose of c.v1.Intake/Read is research, before care'],
  ],
  [
    [['callers: [staff], accepts: [op', 'callers: [], accepts: [op']],
    ['stronger c.v1.Intake/Read may no longer be called by staff'],
  ],
  [
    [['accepts: [operational]', 'accepts: [operational, personal]']],
    ['weaker c.v1.Intake/Read may now also accept personal.email, personal.health'],
  ],
  [[['accepts: [personal]', 'accepts: [personal.health, personal.email]']], []],
  [
    [['accepts: [personal]', 'accepts: [personal.health]']],
    ['stronger c.v1.Intake/Submit may no longer accept personal.email'],
  ],
  [[['returns: [operational]', 'returns: []']], ['stronger c.v1.Intake/Submit may no longer return operational']],
  [[['reads: [cases]', 'reads: [cases, ids]']], ['weaker c.v1.Intake/Read may now also read ids']],
  [[['returns: [personal.health]', `returns: [personal.health], interface: "sha256:${hex('e')}"`]], ['incomparable']],
  [[['retention: P30D', 'retention: P60D']], ['weaker cases is kept for at most P60D, before P30D']],
  [[['retention: P30D', 'retention: P29D']], ['stronger cases is kept for at most P29D, before P30D']],
  [[['retention: P30D', 'retention: P1M']], ['equal cases is kept for at most P1M, before P30D']],
  [[['storage: volatile', 'storage: sealed']], ['weaker ids is kept on disk, encrypted, before in memory']],
  [[['holds: [operational]', 'holds: [operational, personal.email]']], ['weaker ids may now also hold personal.email']],
  [
    [['  ids: {', '  more: { holds: [personal.health], retention: P1D }\n  ids: {']],
    ['weaker the system may now also keep more (personal.health)'],
  ],
  [
    [['receives: [personal.email]', 'receives: [personal.email, personal.health]']],
    ['weaker mailer may now also receive personal.health'],
  ],
  [
    [['mail.example.eu', 'mail.example.us']],
    ['incomparable the address of mailer is https://mail.example.us, before https://mail.example.eu'],
  ],
  [[['region: eu-west', 'region: eu-central']], ['incomparable the region of mailer is eu-central, before eu-west']],
  [
    [['validUntil: "2027-03-31"', 'validUntil: "2027-04-30"']],
    ['weaker mailer may be sent to until 2027-04-30, before 2027-03-31'],
  ],
  [
    [['identity: { ca: system }', 'identity: { spki: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] }']],
    ['incomparable how mailer is known is by its key, before {"ca":"system"}'],
  ],
  [[['to: $request.email', 'to: $request.phone']], ['incomparable']],
  [
    [['justification: asked for', 'justification: wanted']],
    ['equal the justification of the release notify is wanted, before asked for'],
  ],
  [[['[eu-west, eu-central]', '[eu-west]']], ['stronger data may no longer be in eu-central']],
  [[['[eu-west, eu-central]', '[eu-west, eu-central, us-east]']], ['weaker data may now also be in us-east']],
  [
    [['permit(principal is staff, action, resource);', 'permit(principal, action, resource);'], noWho],
    ['incomparable'],
  ],
  [[['minScore: 80', 'minScore: 70']], ['weaker the sovereignty score is at least 70, before 80']],
  [[['maxExternalCalls: 1', 'maxExternalCalls: 0']], ['stronger calls to others per request: at most 0, before 1']],
  [
    [['credential]', 'credential, exact-match]']],
    ['stronger text is now also searched for exact-match on egress, exact-match on log, exact-match on response'],
  ],
  [
    [[', credential]', ']'], without('no-leakage', 'leak', 'No leaks.')],
    [
      'weaker text is no longer searched for credential on egress, credential on log, credential on response',
      'weaker the system no longer claims no-leakage',
    ],
  ],
  [[['memory: 256MiB', 'memory: 1GiB']], ['weaker memory that a request may use: at most 1GiB, before 256MiB']],
  [[['wall: 5s', 'wall: 5000ms']], ['equal time that a request may take: at most 5000ms, before 5s']],
  [
    [['cpu: 60 }', 'cpu: 60 }, methods: { c.v1.Intake/Read: { memory: 64MiB, cpu: 500ms, wall: 5s } }']],
    ['stronger memory that c.v1.Intake/Read may use: at most 64MiB, before 256MiB'],
  ],
  [
    [['cpu: 60 }', 'cpu: 60 }, thermal: 90']],
    ['stronger temperature under which requests are admitted: at most 90, before no limit'],
  ],
  [
    [['expires: "2026-12-31"', 'expires: "2027-12-31"']],
    ['weaker OVR-7 is in force until 2027-12-31, before 2026-12-31'],
  ],
  [
    [['id: OVR-7', 'id: OVR-8']],
    ['weaker an override may now also suspend leaks.email on c.v1.Intake/Submit until 2026-12-31 (OVR-8)', 'stronger'],
  ],
  [
    [['access:\n', 'access:\n  attested: all\n']],
    [
      'stronger c.v1.Intake/Read answers on attested connections alone, before on any connection',
      'stronger c.v1.Intake/Submit answers on attested connections alone, before on any connection',
    ],
  ],
  [
    [['access:\n', 'access:\n  attested: [c.v1.Intake/Read]\n']],
    ['stronger c.v1.Intake/Read answers on attested connections alone, before on any connection'],
  ],
  [[noWho], ['weaker the system no longer claims authorised-access']],
  [
    [['statement: Encrypted.', 'statement: Encrypted., data: [personal.health]']],
    ['weaker the claim encryption-at-rest is no longer about all data'],
  ],
  [
    [['controls: [soc2/cc6.1]', 'controls: [soc2/cc6.1, gdpr/art.32]']],
    ['stronger the claim encryption-at-rest does now also answer gdpr/art.32'],
  ],
  [
    [['statement: Encrypted.', 'statement: Scrambled.']],
    ['incomparable the statement of the claim rest is Scrambled., before Encrypted.'],
  ],
  [[['every: P30D', 'every: P60D']], ['weaker time between reviews of the log: at most P60D, before P30D']],
  [[[`by: ["${key('A')}"]`, `by: ["${key('A')}", "${key('D')}"]`]], ['weaker']],
  [[['  review:', '  retention: P7Y\n  review:']], ['weaker the log is kept for at least P7Y, before unlimited']],
  [[['  review:', '  witnesses: ["w.example+01234567+AAAA"]\n  review:']], ['stronger']],
  [
    [['  review:', '  mirror: "m.example+01234567+AAAA"\n  review:']],
    ['weaker the log may now also forget what is held by the mirror m.example+01234567'],
  ],
  [
    [['  review:', `  readers: ["${key('D')}"]\n  review:`]],
    [`weaker entries of the log may now also be read by ${key('D')}`],
  ],
  [
    [['  review:', '  quoted: 2s\n  review:']],
    ['weaker a record is under a quote of the hardware within 2s, before within 1s'],
  ],
  [
    [['  review:', '  quoted: 250ms\n  review:']],
    ['stronger a record is under a quote of the hardware within 250ms, before within 1s'],
  ],
  [
    [['  review:', '  quoted: 0s\n  review:']],
    ['weaker a record is under a quote of the hardware once a proof is asked for, before within 1s'],
  ],
  [
    [['retention: P30D }', 'retention: P30D, message: c.v1.Case, indexes: [patient_id] }']],
    ['stronger cases takes messages of one type, before any JSON', 'equal cases is now also listed by patient_id'],
  ],
  [[['epoch: PT10M', 'epoch: PT20M']], ['weaker deletions from the disk are final within PT20M, before within PT10M']],
  [[['epoch: PT10M', 'epoch: PT5M']], ['stronger deletions from the disk are final within PT5M, before within PT10M']],
  [[['threshold: 2', 'threshold: 1']], ['weaker signatures that a successor needs: at least 1, before 2']],
  [[['notice: P7D', 'notice: P14D']], ['stronger notice that a successor needs: at least P14D, before P7D']],
  [[[`succession: { signers: ["${key('B')}", "${key('C')}"], threshold: 2, notice: P7D }\n`, '']], ['stronger']],
];

for (const [edits, expected] of CHANGES) {
  const [[from, to] = ['', '']] = edits;
  test(`${from.trim()} → ${to.trim() || 'nothing'}`, () => {
    const found = diff(edited(), edited(...edits)).changes.map(({ verdict, sentence }) => `${verdict} ${sentence}`);
    if (expected.every((each) => each.includes(' '))) assert.deepEqual(found.sort(), [...expected].sort());
    else
      for (const each of expected)
        assert.ok(
          found.some((change) => change.startsWith(each)),
          `${each} in ${found}`,
        );
  });
}

const QUORA = {
  nobody: [],
  one: ['witness a a+01234567+AAAA', 'quorum a'],
  eitherOfTwo: ['witness a a+01234567+AAAA', 'witness b b+01234567+AAAB', 'group g any a b', 'quorum g'],
  both: ['a+01234567+AAAA', 'b+01234567+AAAB'],
  twoOfThree: [
    ...['witness a a+01234567+AAAA', 'witness b b+01234567+AAAB', 'witness c c+01234567+AAAC'],
    ...['group g 2 a b c', 'quorum g'],
  ],
  another: ['d+01234567+AAAD'],
} as const;

for (const [before, after, expected] of [
  ['nobody', 'one', 'stronger'],
  ['one', 'both', 'stronger'],
  ['eitherOfTwo', 'one', 'stronger'],
  ['one', 'eitherOfTwo', 'weaker'],
  ['eitherOfTwo', 'both', 'stronger'],
  ['both', 'twoOfThree', 'weaker'],
  ['eitherOfTwo', 'twoOfThree', 'stronger'],
  ['twoOfThree', 'eitherOfTwo', 'weaker'],
  ['one', 'another', 'weaker'],
  ['both', 'both', 'equal'],
] as const) {
  test(`witnesses: ${before} → ${after} is ${expected}`, () => {
    const by = (name: keyof typeof QUORA): Policy =>
      edited(['  review:', `  witnesses: ${JSON.stringify(QUORA[name])}\n  review:`]);
    const { verdict, changes } = diff(by(before), by(after));
    assert.equal(verdict, expected, JSON.stringify(changes));
  });
}

test('a quorum too wide to be told part by part is never equal to another', () => {
  const wide = (threshold: number): Policy => {
    const names = Array.from({ length: 20 }, (_, i) => `w${i}`);
    const vkey = (i: number): string => `n+01234567+${Buffer.of(4, i, 1).toString('base64')}`;
    const lines = [
      ...names.map((name, i) => `witness ${name} ${vkey(i)}`),
      `group g ${threshold} ${names.join(' ')}`,
      'quorum g',
    ];
    return edited(['  review:', `  witnesses: ${JSON.stringify(lines)}\n  review:`]);
  };
  assert.equal(diff(wide(10), wide(10)).verdict, 'equal');
  assert.equal(diff(wide(10), wide(9)).verdict, 'incomparable');
  assert.notEqual(diff(wide(20), wide(10)).verdict, 'stronger');
  assert.notEqual(diff(wide(10), wide(20)).verdict, 'equal');
});

test('an opening to anyone is weaker, whoever was named before', () => {
  const open = edited(['callers: [staff], accepts: [op', 'callers: [anyone], accepts: [op'], noWho);
  const named = edited(noWho);
  assert.deepEqual(
    diff(named, open).changes.map(({ sentence }) => sentence),
    ['c.v1.Intake/Read may now also be called by anyone'],
  );
  assert.deepEqual(diff(open, named).verdict, 'stronger');
});

test('a default that is written out, of an entry that may be left out, has the digest of one left out', () => {
  const written = edited(['  review:', '  quoted: 1s\n  review:']);
  assert.equal(policyDigest(written), policyDigest(edited()));
  assert.equal('quoted' in written.evidence, false);
  const text = new TextDecoder().decode(canonicalPolicy(edited()));
  const other = text.replace('"evidence":{', '"evidence":{"quoted":"1s",').replace('"quoted":"1s",', '');
  assert.equal(other, text);
  const forced = text.replace('"retention":"unlimited","review"', '"quoted":"1s","retention":"unlimited","review"');
  assert.notEqual(forced, text);
  assert.throws(() => decodePolicy(new TextEncoder().encode(forced)), /canonical/);
});

test('a whole policy is weaker if anything is, whatever else got stronger', () => {
  const { verdict } = diff(edited(), edited(['retention: P30D', 'retention: P31D'], ['minScore: 80', 'minScore: 90']));
  assert.equal(verdict, 'weaker');
});

test('what an attested peer is held against is compared by its digest', () => {
  const against = (references: string): Policy =>
    edited([
      'identity: { ca: system }',
      `identity: { attested: { policy: "sha384:${hex('f', 96)}", image: any, references: '${references}' } }`,
    ]);
  const { verdict, changes } = diff(against('{"a":1}'), against('{"a":2}'));
  assert.equal(verdict, 'incomparable');
  assert.equal(changes.length, 1);
  assert.match(
    changes[0]?.sentence ?? '',
    /^what the evidence of mailer is held against is sha256:[0-9a-f]+, before sha256:/,
  );
  assert.equal(diff(against('{}'), against('{}')).changes.length, 0);
});

test('keys that begin alike are two keys', () => {
  const withKey = (last: string): Policy =>
    edited([
      `mtls: { ca: "sha256:${hex('d')}" }`,
      `oidc: { issuer: "https://a.example", audience: a, keys: { k: "RS256:${'A'.repeat(500)}${last}" } }`,
    ]);
  assert.deepEqual(
    diff(withKey('A'), withKey('B'))
      .changes.map(({ verdict }) => verdict)
      .sort(),
    ['stronger', 'weaker'],
  );
});

test('a version that goes back is weaker: it only ever grows', () => {
  const [two, three] = [edited(['version: 3', 'version: 2']), edited()];
  const back = diff(three, two);
  assert.equal(back.verdict, 'weaker');
  assert.ok(back.changes.some(({ sentence }) => sentence === 'the version goes back from 3 to 2: it only ever grows'));
  assert.notEqual(diff(two, three).verdict, 'weaker');
  // Another system's versions are counted from elsewhere.
  const other = edited(['version: 3', 'version: 2'], ['name: clinic', 'name: other']);
  assert.ok(diff(three, other).changes.every(({ sentence }) => !sentence.includes('goes back')));
});
