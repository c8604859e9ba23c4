/** Nitro documents of a hypervisor in software, and what must not pass. */

import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { describe, test } from 'node:test';
import { authority, EPOCH, FakeIdentity, pinOf } from '../../test/fakes/certificates.ts';
import { failing, refused, refusedSomewhere } from '../../test/support/refused.ts';
import { VENDOR_ANCHORS } from '../src/anchors.ts';
import { type CborValue, encodeCbor, encodeSign1 } from '../src/cbor/index.ts';
import type { EvidenceErrorCode } from '../src/errors.ts';
import { appraiseNitro, NITRO_CAREFUL, verifyNitro } from '../src/nitro/index.ts';

const now = EPOCH + 1000;
const root = new FakeIdentity('aws.nitro-enclaves', 'ecdsa-sha384');
const zonal = new FakeIdentity('zonal', 'ecdsa-sha384');
const enclave = new FakeIdentity('enclave', 'ecdsa-sha384');
const rootDer = root.root();
const zonalDer = root.certify({ subject: zonal.subject, spki: zonal.spki, extensions: authority(0) });
const leafDer = zonal.certify({ subject: enclave.subject, spki: enclave.spki, notAfter: EPOCH + 10_800_000 });
const pins = [pinOf(rootDer)];

const signer = async (message: Uint8Array): Promise<Uint8Array> =>
  sign('sha384', message, { key: enclave.privateKey, dsaEncoding: 'ieee-p1363' });

function payload(changes: Record<string, CborValue | undefined> = {}): Uint8Array {
  const fields: Record<string, CborValue | undefined> = {
    module_id: 'i-0-enc0',
    timestamp: now,
    digest: 'SHA384',
    pcrs: new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(index + 1)])),
    certificate: leafDer,
    cabundle: [rootDer, zonalDer],
    public_key: null,
    user_data: null,
    nonce: new Uint8Array(32).fill(5),
    ...changes,
  };
  return encodeCbor(
    new Map(Object.entries(fields).filter((entry): entry is [string, CborValue] => entry[1] !== undefined)),
  );
}

const document = (changes?: Record<string, CborValue | undefined>): Promise<Uint8Array> =>
  encodeSign1(-35, payload(changes), signer);
const verify = async (bytes: Uint8Array, at = now) => verifyNitro(bytes, pins, { now: at });

describe('verifyNitro', () => {
  test('accepts a document', async () => {
    const { document: found } = await verify(await document());
    assert.equal(found.moduleId, 'i-0-enc0');
    assert.equal(found.nonce?.length, 32);
    assert.equal(found.publicKey, undefined);
  });

  const bad: [string, EvidenceErrorCode, Record<string, CborValue | undefined>][] = [
    ['another digest', 'format', { digest: 'SHA256' }],
    ['no registers', 'format', { pcrs: new Map() }],
    ['register 32', 'format', { pcrs: new Map([[32, new Uint8Array(48)]]) }],
    ['a short register', 'format', { pcrs: new Map([[0, new Uint8Array(32)]]) }],
    ['no certificate', 'format', { certificate: undefined }],
    ['a field that is not known', 'format', { comment: 'x' }],
    ['a nonce of 513 bytes', 'format', { nonce: new Uint8Array(513) }],
    ['an empty bundle', 'format', { cabundle: [] }],
    ['a timestamp that is text', 'format', { timestamp: 'now' }],
    ['a bundle without the root', 'chain', { cabundle: [zonalDer] }],
    ['a certificate that does not parse', 'chain', { certificate: leafDer.subarray(1) }],
    [
      'the certificate of somebody else',
      'signature',
      { certificate: root.certify({ subject: zonal.subject, spki: zonal.spki }) },
    ],
  ];
  for (const [what, code, changes] of bad) {
    test(`refuses ${what}`, async () => {
      const bytes = await document(changes);
      await refused(code, () => verify(bytes));
    });
  }

  test('refuses it three hours later, and before its time', async () => {
    const bytes = await document();
    await refused('validity', () => verify(bytes, EPOCH + 10_800_001));
    await refused('validity', () => verify(bytes, EPOCH - 1));
  });

  test('refuses the root of fakes under the production anchor', async () => {
    const bytes = await document();
    await refused('chain', () => verifyNitro(bytes, VENDOR_ANCHORS.nitro, { now }));
  });

  test('refuses every changed byte', async () => {
    const good = await document();
    for (let at = 0; at < good.length; at++) {
      const changed = Uint8Array.from(good);
      changed[at] = (changed[at] ?? 0) ^ 1;
      await refusedSomewhere(() => verify(changed), `byte ${at}`);
    }
  });
});

describe('appraiseNitro', () => {
  test('refuses a debug enclave, whichever of its registers is zero', async () => {
    for (const index of [0, 1, 2]) {
      const values = [0, 1, 2].map((one): [number, Uint8Array] => [
        one,
        new Uint8Array(48).fill(one === index ? 0 : 1),
      ]);
      const found = await verify(await document({ pcrs: new Map(values) }));
      assert.deepEqual(failing(appraiseNitro(found, { ...NITRO_CAREFUL, pcrs: new Map() })), ['nitro.debug']);
    }
  });

  test('compares registers and nonce', async () => {
    const found = await verify(await document());
    const one = new Uint8Array(48).fill(1);
    assert.deepEqual(failing(appraiseNitro(found, { ...NITRO_CAREFUL, pcrs: new Map([[0, [one]]]) })), []);
    assert.deepEqual(failing(appraiseNitro(found, NITRO_CAREFUL)), ['nitro.pcr0']);
    const demands = { ...NITRO_CAREFUL, pcrs: new Map([[9, [one]]]), nonce: new Uint8Array(32) };
    assert.deepEqual(failing(appraiseNitro(found, demands)), ['nitro.pcr9', 'nitro.nonce']);
  });
});
