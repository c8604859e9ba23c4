/** EAR and CoRIM: what we write we read, and what must not pass. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { EPOCH, FakeIdentity } from '../../test/fakes/certificates.ts';
import { count } from '../../test/support/long.ts';
import { fc } from '../../test/support/properties.ts';
import { refused, refusedSomewhere, undecodable } from '../../test/support/refused.ts';
import { type CborValue, encodeCbor } from '../src/cbor/index.ts';
import { DecodeError } from '../src/errors.ts';
import {
  checkSnpProfile,
  encodeCorim,
  parseCoev,
  parseComid,
  parseCorim,
  parseEarClaims,
  SNP_CORIM_PROFILE,
  signCorim,
  signEar,
  signJwt,
  verifyCorim,
  verifyEar,
} from '../src/rats/index.ts';
import type { Verdict } from '../src/verdict/verdict.ts';

const now = EPOCH + 1000;
const verifier = new FakeIdentity('verifier', 'ecdsa-sha256');
const other = new FakeIdentity('other', 'ecdsa-sha256');
const signer = async (message: Uint8Array): Promise<Uint8Array> =>
  sign('sha256', message, { key: verifier.privateKey, dsaEncoding: 'ieee-p1363' });
const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

const verdict: Verdict = {
  ok: true,
  platform: 'snp',
  policy: `sha384:${'00'.repeat(48)}`,
  bundle: `sha384:${'11'.repeat(48)}`,
  bootId: '0',
  end: null,
  checks: [
    { id: 'snp.vmpl', outcome: 'passed', required: true, detail: 'VMPL 0' },
    { id: 'nonce', outcome: 'passed', required: true, detail: 'ours' },
  ],
};
const issue = {
  iat: 1_767_225_600,
  asOf: 1_700_000_000_000,
  verifier: { build: 'enclaim 0.1.0', developer: 'Example' },
};

describe('EAR', () => {
  test('a verdict becomes a token that verifies, affirming or contraindicated', async () => {
    for (const [ok, status] of [
      [true, 'affirming'],
      [false, 'contraindicated'],
    ] as const) {
      const token = await signEar({ ...verdict, ok }, issue, 'ES256', signer);
      const claims = await verifyEar(token, verifier.spki, 'ES256');
      assert.equal(claims.submods.snp?.['ear.status'], status);
      assert.deepEqual(claims.submods.snp?.['ear.enclaim.checks'], verdict.checks);
    }
  });

  test('the token chooses neither key nor algorithm', async () => {
    const token = await signEar(verdict, issue, 'ES256', signer);
    await refused('signature', () => verifyEar(token, other.spki, 'ES256'));
    await refused('signature', () => verifyEar(token, verifier.spki, 'ES384'));
    const [, payload = '', signature = ''] = token.split('.');
    for (const header of [{ alg: 'none' }, { alg: 'HS256' }, { alg: 'ES384' }, {}]) {
      const forged = [Buffer.from(JSON.stringify(header)).toString('base64url'), payload, signature].join('.');
      await refused('signature', () => verifyEar(forged, verifier.spki, 'ES256'));
    }
    const critical = Buffer.from('{"alg":"ES256","crit":["b64"]}').toString('base64url');
    await refused('format', () => verifyEar([critical, payload, signature].join('.'), verifier.spki, 'ES256'));
  });

  test('refuses every changed character, and tokens of other shapes', async () => {
    const token = await signEar(verdict, issue, 'ES256', signer);
    for (let at = 0; at < token.length; at++) {
      const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
      await refusedSomewhere(() => verifyEar(changed, verifier.spki, 'ES256'), `character ${at}`);
    }
    for (const shape of ['', 'a.b', `${token}.x`, `${token}=`, ` ${token}`]) {
      await refused('format', () => verifyEar(shape, verifier.spki, 'ES256'));
    }
  });

  const good = {
    eat_profile: 'tag:github.com,2023:veraison/ear',
    iat: 1,
    'ear.verifier-id': { build: 'b', developer: 'd' },
    submods: { test: { 'ear.status': 'affirming' } },
  };
  const bad: [string, object][] = [
    ['no profile', { ...good, eat_profile: undefined }],
    ['another profile', { ...good, eat_profile: 'tag:example' }],
    ['no time', { ...good, iat: undefined }],
    ['no verifier', { ...good, 'ear.verifier-id': undefined }],
    ['half a verifier', { ...good, 'ear.verifier-id': { build: 'b' } }],
    ['no submods', { ...good, submods: {} }],
    ['a status that is none', { ...good, submods: { test: { 'ear.status': 'fine' } } }],
    ['a tier that is none', { ...good, submods: { test: { 'ear.status': 3 } } }],
    ['no status', { ...good, submods: { test: {} } }],
    [
      'an unknown part of the vector',
      { ...good, submods: { test: { 'ear.status': 2, 'ear.trustworthiness-vector': { luck: 2 } } } },
    ],
    [
      'a key attestation without a key',
      { ...good, submods: { test: { 'ear.status': 2, 'ear.veraison.key-attestation': {} } } },
    ],
  ];
  for (const [what, claims] of bad)
    test(`refuses ${what}`, () => undecodable('syntax', () => parseEarClaims(bytes(claims))));

  test('reads tiers by number, and keeps extensions', () => {
    const claims = parseEarClaims(bytes({ ...good, extra: 1, submods: { test: { 'ear.status': 32 } } }));
    assert.equal(claims.submods.test?.['ear.status'], 'warning');
    assert.equal(claims.extra, 1);
  });

  test('a token of something else is no result', async () => {
    const token = await signJwt(bytes({}), 'ES256', signer);
    await refused('format', () => verifyEar(token, verifier.spki, 'ES256'));
  });
});

describe('CoRIM', () => {
  const content = {
    id: 'enclaim-0.1.0',
    profile: 'tag:example.com,2026:enclaim',
    tagId: new Uint8Array(16).fill(1),
    references: [
      {
        vendor: 'Example',
        model: 'base',
        digests: [{ key: 'pcr4', algorithm: 'sha256', value: new Uint8Array(32) } as const],
      },
    ],
  };
  const validity = { from: EPOCH, until: EPOCH + 86_400_000 };
  const sealed = (): Promise<Uint8Array> => signCorim(content, 'Example', validity, -7, signer);

  test('what is signed verifies, and says the same', async () => {
    const corim = await verifyCorim(await sealed(), verifier.spki, -7, { now });
    assert.deepEqual([corim.id, corim.profile], [content.id, content.profile]);
    const measurement = corim.comids[0]?.references[0]?.measurements[0];
    assert.equal(measurement?.key, 'pcr4');
    assert.deepEqual(measurement?.values.get(2), [[1, new Uint8Array(32)]]);
  });

  test('refuses other keys, other times and every changed byte', async () => {
    const good = await sealed();
    await refused('signature', () => verifyCorim(good, other.spki, -7, { now }));
    await refused('validity', () => verifyCorim(good, verifier.spki, -7, { now: validity.until + 1 }));
    await refused('validity', () => verifyCorim(good, verifier.spki, -7, { now: validity.from - 1 }));
    const endless = await signCorim(content, 'Example', { from: EPOCH, until: 9e18 }, -7, signer);
    await verifyCorim(endless, verifier.spki, -7, { now });
    await refused('validity', () => verifyCorim(endless, verifier.spki, -7, { now: EPOCH - 1 }));
    await refused('validity', () => verifyCorim(good, verifier.spki, -7, { now: 1e17 }));
    await refused('format', () => verifyCorim(encodeCorim(content), verifier.spki, -7, { now }));
    for (let at = 0; at < good.length; at++) {
      const changed = Uint8Array.from(good);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await refusedSomewhere(() => verifyCorim(changed, verifier.spki, -7, { now }), `byte ${at}`);
    }
  });

  const comid = (triples: CborValue, identity: CborValue = new Map([[0, 'id']])): Uint8Array =>
    encodeCbor(
      new Map<number, CborValue>([
        [1, identity],
        [4, triples],
      ]),
    );
  const environment = new Map([[0, new Map([[1, 'vendor']])]]);
  const measurement = new Map<number, CborValue>([
    [0, 1],
    [1, new Map([[1, 2]])],
  ]);
  const bad: [string, Uint8Array][] = [
    ['no triples', comid(new Map())],
    ['an empty environment', comid(new Map([[0, [[new Map(), [measurement]]]]]))],
    ['no measurements', comid(new Map([[0, [[environment, []]]]]))],
    ['a measurement without values', comid(new Map([[0, [[environment, [new Map([[1, new Map()]])]]]]]))],
    ['a digest that is none', comid(new Map([[0, [[environment, [new Map([[1, new Map([[2, [[1, 'x']]]])]])]]]]]))],
    ['an unknown member of a class', comid(new Map([[0, [[new Map([[0, new Map([[9, 'x']])]]), [measurement]]]]]))],
    ['a key without its tag', comid(new Map([[3, [[environment, ['key']]]]]))],
    ['a tag id that is a number', comid(new Map([[0, [[environment, [measurement]]]]]), new Map([[0, 7]]))],
    ['triples of a kind that is not known', comid(new Map([[11, [[environment, [measurement]]]]]))],
  ];
  for (const [what, document] of bad)
    test(`refuses ${what}`, () => assert.throws(() => parseComid(document), DecodeError));

  test('holds a document against the SNP profile', () => {
    const wrap = (document: Uint8Array, profile = SNP_CORIM_PROFILE): Uint8Array =>
      encodeCbor({
        tag: 501,
        value: new Map<number, CborValue>([
          [0, 'id'],
          [1, [{ tag: 506, value: document }]],
          [3, { tag: 32, value: profile }],
        ]),
      });
    const keyed = comid(new Map([[0, [[environment, [measurement]]]]]));
    checkSnpProfile(parseCorim(wrap(keyed)));
    undecodable('version', () => checkSnpProfile(parseCorim(wrap(keyed, 'tag:example'))));
    const bare = comid(new Map([[0, [[environment, [new Map([[1, new Map([[1, 2]])]])]]]]]));
    undecodable('syntax', () => checkSnpProfile(parseCorim(wrap(bare))));
    const anchor = comid(new Map([[3, [[environment, [{ tag: 555, value: 'x' }]]]]]));
    undecodable('syntax', () => checkSnpProfile(parseCorim(wrap(anchor))));
  });

  test('is total', () => {
    const good = encodeCorim(content);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(good.length), (noise, at) => {
        const input = Buffer.concat([good.subarray(0, at), noise, good.subarray(at + noise.length)]);
        for (const parse of [parseCorim, parseComid, parseCoev, parseEarClaims]) {
          try {
            parse(input);
          } catch (error) {
            assert.ok(error instanceof DecodeError, String(error));
          }
        }
      }),
      { numRuns: count(2000, 2000, 200) },
    );
  });
});
