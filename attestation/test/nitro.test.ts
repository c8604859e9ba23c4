/** Nitro documents of a hypervisor in software, and what must not pass. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EPOCH } from '../../test/fakes/certificates.ts';
import { type FakeNitroFields, FakeNitroHypervisor } from '../../test/fakes/nitro-hypervisor.ts';
import { coldAndWarm } from '../../test/support/cold-and-warm.ts';
import { count } from '../../test/support/long.ts';
import { failing, refused, refusedSomewhere } from '../../test/support/refused.ts';
import { VENDOR_ANCHORS } from '../src/anchors.ts';
import type { EvidenceErrorCode } from '../src/errors.ts';
import { appraiseNitro, NITRO_CAREFUL, verifyNitro } from '../src/nitro/index.ts';

const now = EPOCH + 1000;
const hypervisor = new FakeNitroHypervisor();
const { root, zonal, zonalDer, leafDer, pins } = hypervisor;
const document = (changes?: FakeNitroFields): Promise<Uint8Array> =>
  hypervisor.document({ nonce: new Uint8Array(32).fill(5), ...changes });
const verify = (bytes: Uint8Array, at = now) => coldAndWarm(() => verifyNitro(bytes, pins, { now: at }));

describe('verifyNitro', () => {
  test('accepts a document', async () => {
    const { document: found } = await verify(await document());
    assert.equal(found.moduleId, 'i-0123456789abcdef0-enc0123456789abcdef0');
    assert.equal(found.nonce?.length, 32);
    assert.equal(found.publicKey, undefined);
  });

  const bad: [string, EvidenceErrorCode, FakeNitroFields][] = [
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
    for (let at = 0; at < good.length; at += count(1, 1, 13)) {
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
