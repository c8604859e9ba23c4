/** What an audit accepts of a machine: nothing that the references say of image, policy and app, where it rebuilt them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { References } from '@enclaim/attestation';
import { bundleDigest, encodeBundle } from '@enclaim/attestation/bundle';
import { parseDigest } from '@enclaim/attestation/digest';
import { directRtmr1Events, rtmrOf } from '@enclaim/attestation/measure';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';
import { SAMPLE } from '../../image/test/manifest.ts';
import { rebuiltReferences } from '../src/image/rebuilt-references.ts';

const claimed256 = `sha256:${'ee'.repeat(32)}` as const;
const claimed384 = `sha384:${'ee'.repeat(48)}` as const;
const { tpm, snp, tdx } = SAMPLE.references;
const own = { id: claimed256, commandLine: 'claimed', kernel: claimed256, initrd: claimed256 };
const claimed: References = {
  enclaim: 'references/1',
  images: [{ ...own, uki: claimed256, sections: claimed256 }],
  policy: claimed384,
  bundles: 'any',
  owner: 'any',
  anchors: { attestationKeys: [], endorsementRoots: [], unsafeSwtpmRoots: [], certificates: [], vendors: ['aws'] },
  snp: [
    {
      ...own,
      firmware: snp.firmware,
      vcpus: [2],
      vmm: 'qemu',
      cpuSignature: 1,
      features: 1,
      floors: 'any',
      idKeys: 'any',
      authorKeys: 'any',
    },
  ],
  tdx: [
    {
      id: claimed256,
      mrtd: tdx.firmware.mrtd,
      rtmr0: claimed384,
      rtmr1: [{ name: 'kernel', digest: 'any' }],
      initrd: claimed384,
      commandLine: 'claimed',
      commandLineEnd: '',
      rtmr3: 'zero',
    },
  ],
  nitro: [{ pcr0: claimed384, pcr1: claimed384, pcr2: claimed384 }],
};
const image = { manifest: SAMPLE, uki: new Uint8Array(), kernel: new Uint8Array(), initrd: new Uint8Array() };
const policy = Buffer.from('{}');
const bundle = encodeBundle({ policy, descriptors: new Uint8Array(), handlers: new Uint8Array() });

test('kernel, initrd and command line are the rebuilt ones on every platform; an enclave is accepted as none', () => {
  const held = rebuiltReferences(claimed, { image, bundle: null });
  assert.deepEqual(held.images, [tpm]);
  const { id, commandLine } = tpm;
  assert.deepEqual(held.snp, [{ ...claimed.snp?.[0], id, commandLine, kernel: snp.kernel, initrd: snp.initrd }]);
  const [launch] = held.tdx ?? [];
  assert.deepEqual([launch?.initrd, launch?.commandLine], [tdx.initrd, commandLine]);
  const kernel = directRtmr1Events(parseDigest('sha384', tdx.kernel));
  assert.equal(launch?.rtmr1, `sha384:${rtmrOf(kernel).toHex()}`);
  assert.deepEqual([launch?.mrtd, launch?.rtmr0], [tdx.firmware.mrtd, claimed384], 'firmware and machine stay');
  assert.equal(held.nitro, undefined);
  assert.deepEqual([held.policy, held.bundles], [claimed384, 'any'], 'nothing was rebuilt to take their place');
});

test('where an app was rebuilt, its policy and its bundle are the only ones', () => {
  const window = { notBefore: '2026-01-01T00:00:00.000Z', notAfter: '2026-12-31T00:00:00.000Z' };
  const rollout = [{ policy: claimed384, bundles: 'any', ...window }] as const;
  assert.deepEqual(rebuiltReferences({ ...claimed, rollout }, { image, bundle: null }).rollout, rollout);
  const held = rebuiltReferences({ ...claimed, rollout }, { image, bundle });
  assert.ok(!('rollout' in held));
  assert.deepEqual([held.policy, held.bundles], [digestOfCanonical(policy), [bundleDigest(bundle)]]);
});
