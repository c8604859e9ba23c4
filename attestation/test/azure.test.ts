/** Azure confidential VMs with hardware and paravisor in software: who vouches for whom, and where that breaks. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { EPOCH } from '../../test/fakes/certificates.ts';
import { FakeParavisor } from '../../test/fakes/paravisor.ts';
import { FakePsp } from '../../test/fakes/psp.ts';
import { FakeQuotingEnclave } from '../../test/fakes/quoting-enclave.ts';
import { coldAndWarm } from '../../test/support/cold-and-warm.ts';
import { fc } from '../../test/support/properties.ts';
import { realAzure } from '../../test/support/real-azure.ts';
import { failing, refused, undecodable } from '../../test/support/refused.ts';
import { VENDOR_ANCHORS } from '../src/anchors.ts';
import { appraiseAzure } from '../src/appraise/cloud.ts';
import { type AzureSnpEvidence, parseHclReport, verifyAzureSnp, verifyAzureTdx } from '../src/azure/index.ts';
import { DecodeError, type DecodeErrorCode, type EvidenceErrorCode } from '../src/errors.ts';
import type { AzureSnpReference } from '../src/references/cloud.ts';

const now = EPOCH + 1000;
const psp = new FakePsp();
const paravisor = new FakeParavisor();
const nonce = new Uint8Array(32).fill(3);

function evidence(reportData: Uint8Array = paravisor.reportData()): AzureSnpEvidence {
  const { report, ...hardware } = psp.evidence({ reportData });
  return {
    ...hardware,
    hclReport: paravisor.hclReport({ platform: 'snp', hardwareReport: report }),
    vtpm: paravisor.quote(nonce),
  };
}

const verify = (given: AzureSnpEvidence) => coldAndWarm(() => verifyAzureSnp(given, psp.pins, { now }));

describe('verifyAzureSnp', () => {
  test('leads from the hardware to the registers', async () => {
    const found = await verify(evidence());
    assert.equal(found.hardware.product, 'Milan');
    assert.deepEqual(found.runtime.keyIds, ['HCLAkPub']);
    assert.equal(found.quote.banks.get('sha256')?.size, 16);
  });

  test('takes longer hashes where the report says so', async () => {
    const reportData = paravisor.reportData(paravisor.runtimeData(), 'sha384');
    const hardwareReport = psp.report({ reportData });
    const hclReport = paravisor.hclReport({ platform: 'snp', hardwareReport, hash: 'sha384' });
    await verify({ ...evidence(), hclReport });
    await refused('binding', () =>
      verify({ ...evidence(), hclReport: paravisor.hclReport({ platform: 'snp', hardwareReport }) }),
    );
  });

  const other = new FakeParavisor();
  const changed = (offset: number, value: number): AzureSnpEvidence => {
    const given = evidence();
    const hclReport = Buffer.from(given.hclReport);
    hclReport[offset] = value;
    return { ...given, hclReport };
  };
  const attacks: [string, EvidenceErrorCode, () => AzureSnpEvidence][] = [
    ['a vTPM that the hardware does not vouch for', 'signature', () => ({ ...evidence(), vtpm: other.quote(nonce) })],
    ['runtime data of another VM', 'binding', () => evidence(other.reportData())],
    [
      'a report that the guest asked for',
      'binding',
      () => {
        const hardwareReport = psp.report({ reportData: paravisor.reportData(), vmpl: 2 });
        return { ...evidence(), hclReport: paravisor.hclReport({ platform: 'snp', hardwareReport }) };
      },
    ],
    [
      'a quote for another nonce',
      'nonce',
      () => ({ ...evidence(), vtpm: { ...paravisor.quote(nonce), expectedExtraData: new Uint8Array(32) } }),
    ],
    [
      'a report of TDX',
      'platform',
      () => ({
        ...evidence(),
        hclReport: paravisor.hclReport({ platform: 'tdx', hardwareReport: new Uint8Array(1024) }),
      }),
    ],
    ['a changed hardware report', 'signature', () => changed(0x20 + 0x90, 1)],
    ['a runtime data length that is one less', 'format', () => changed(0x4d0, (evidence().hclReport[0x4d0] ?? 0) - 1)],
    [
      'two attestation keys',
      'format',
      () => {
        const [key] = JSON.parse(Buffer.from(paravisor.runtimeData()).toString()).keys;
        const runtimeData = paravisor.runtimeData({ keys: [key, key] });
        const hardwareReport = psp.report({ reportData: paravisor.reportData(runtimeData) });
        return { ...evidence(), hclReport: paravisor.hclReport({ platform: 'snp', hardwareReport, runtimeData }) };
      },
    ],
  ];
  for (const [what, code, make] of attacks) test(`refuses ${what}`, () => refused(code, () => verify(make())));
});

describe('verifyAzureTdx', () => {
  const qe = new FakeQuotingEnclave();
  const hclReport = paravisor.hclReport({ platform: 'tdx', hardwareReport: new Uint8Array(1024) });
  const given = (reportData: Uint8Array) => ({
    hclReport,
    tdQuote: qe.quote({ reportData }),
    collateral: qe.collateral(),
    vtpm: paravisor.quote(nonce),
  });

  test('reads the binding from the quote, not from the TDREPORT', async () => {
    const found = await verifyAzureTdx(given(paravisor.reportData()), qe.pins, { now });
    assert.ok(found.hardware.tcb !== 'not checked');
    await refused('binding', () => verifyAzureTdx(given(new Uint8Array(64)), qe.pins, { now }));
  });
});

describe('parseHclReport', () => {
  const good = Buffer.from(evidence().hclReport);
  const bad: [string, DecodeErrorCode, number, number][] = [
    ['another magic', 'magic', 0, 0],
    ['version 3', 'version', 4, 3],
    ['a status', 'reserved', 16, 1],
    ['another size', 'range', 8, 0],
    ['another request', 'version', 12, 1],
    ['data version 2', 'version', 0x4c4, 2],
    ['report type 5', 'version', 0x4c8, 5],
    ['hash type 4', 'version', 0x4cc, 4],
    ['runtime data beyond the end', 'truncated', 0x4d2, 0xff],
    ['padding', 'reserved', good.length - 1, 1],
  ];
  for (const [what, code, offset, value] of bad) {
    test(`refuses ${what}`, () => {
      const bytes = Buffer.from(good);
      bytes[offset] = value;
      undecodable(code, () => parseHclReport(bytes));
    });
  }

  test('is total', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(good.length), (noise, at) => {
        try {
          parseHclReport(Buffer.concat([good.subarray(0, at), noise, good.subarray(at + noise.length)]));
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a real VM', () => {
  const { evidence: real, registers, reference, now: at } = realAzure();

  test('shows what careful references demand, but for what was not captured', async () => {
    const { hardware: snp, runtime, quote } = await verifyAzureSnp(real, VENDOR_ANCHORS.amd, { now: at });
    const vtpm = {
      registers,
      commandLine: null,
      attestationKey: `sha256:${'0'.repeat(64)}`,
      clock: quote.clockInfo,
    } as const;
    const azure = { kind: 'azure', silicon: { kind: 'snp', snp }, runtime, vtpm } as const;
    const policy = `sha384:${'0'.repeat(96)}` as const;
    const held = (azureSnp: AzureSnpReference): string[] =>
      failing(appraiseAzure(azure, { images: [], policy, azureSnp }, { bundle: policy }, { now: at }));
    const [signer] = reference.signers;
    assert(signer !== undefined);
    assert.deepEqual(held(reference), ['snp.revocation', 'image']);
    assert.deepEqual(held({ ...reference, signers: [{ ...signer, minimumSvn: signer.minimumSvn + 1 }] }), [
      'azure.paravisor',
      'snp.revocation',
      'image',
    ]);
  });
});
