/**
 * Every field of every report has a row that says what judges it, and the row is true: a validly signed report in which only
 * that field is other than demanded meets one of the checks or refusals of its row, and what has a reason meets none.
 */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fakeQuote } from '../../test/fakes/attestation-key.ts';
import { EPOCH } from '../../test/fakes/certificates.ts';
import { FakeGce } from '../../test/fakes/gce.ts';
import { FakeNitroHypervisor } from '../../test/fakes/nitro-hypervisor.ts';
import { FakeParavisor } from '../../test/fakes/paravisor.ts';
import { FakePsp } from '../../test/fakes/psp.ts';
import { FakeQuotingEnclave } from '../../test/fakes/quoting-enclave.ts';
import { failing } from '../../test/support/refused.ts';
import { parseHclReport, verifyAzureSnp } from '../src/azure/index.ts';
import { parseSign1 } from '../src/cbor/cose.ts';
import { decodeCbor } from '../src/cbor/decode.ts';
import { EvidenceError } from '../src/errors.ts';
import { appraiseGceEndorsement, verifyGceEndorsement } from '../src/gcp/index.ts';
import { appraiseNitro, type NitroDemands, verifyNitro } from '../src/nitro/index.ts';
import { appraiseSnp, parseReport, type SnpDemands, tcbVersion, verifySnp } from '../src/snp/index.ts';
import { appraiseTdx, parseQuote, type TdxDemands, verifyTdx } from '../src/tdx/index.ts';
import { type Attest, attest, parseAttest, type QuoteAttest } from '../src/tpm/attest.ts';
import { verifyQuote } from '../src/tpm/index.ts';
import type { Check } from '../src/verdict/verdict.ts';
import {
  type Field,
  GCE_ENDORSEMENT,
  HCL_REPORT,
  HCL_RUNTIME,
  type Judged,
  LAYOUTS,
  type Layout,
  MEMBERS,
  type Members,
  NITRO_DOCUMENT,
  QE_REPORT,
  reportFieldsMarkdown,
  SNP_REPORT,
  TDX_QUOTE,
  TPM_CERTIFY,
  TPM_QUOTE,
} from './report-fields.ts';

const now = EPOCH + 86_400_000;

/** What fails, or `!` and the code of the refusal. */
async function metBy(judge: () => Promise<readonly Check[]>): Promise<string[]> {
  try {
    return failing([...(await judge())]);
  } catch (error) {
    if (error instanceof EvidenceError) return [`!${error.code}`];
    throw error;
  }
}

/** A report that is signed after bytes of it were changed. */
interface Subject {
  readonly layout: Layout;
  readonly bytes: Uint8Array;
  /** @param at the place of what is changed, which may lie in the signature itself */
  judge(at: number, changed: Uint8Array): Promise<readonly Check[]>;
}

const psp = new FakePsp();
const filled = (length: number): Uint8Array => new Uint8Array(length).fill(0x11);
const POLICY = 0x3d3_0137n; // ABI 1.55, SMT, one, and every protection
const PLATFORM = 0x7fn;
/** A report that says more than zeros. */
const plain = psp.report({
  version: 5,
  guestSvn: 0xff_ffff,
  policy: POLICY,
  platformInfo: PLATFORM,
  familyId: filled(16),
  imageId: filled(16),
  patch: { 488: Uint8Array.of(9, 9, 9, 0, 9, 9, 9, 0), 504: filled(8), 512: filled(8) },
});

/** With bytes at a place before it is signed. */
function snpReport(at = 0, changed: Uint8Array = new Uint8Array()): Uint8Array {
  const report = Uint8Array.from(plain);
  report.set(changed, at);
  return psp.signed(report);
}
const floor = { Milan: tcbVersion('Milan', psp.tcb) };
const snpDemands: SnpDemands = {
  versions: [5],
  measurements: [new Uint8Array(48)],
  reportData: new Uint8Array(64),
  hostData: new Uint8Array(32),
  products: [{ line: 'Milan', stepping: 1 }],
  vmpl: 0,
  guestSvn: 0xff_ffff,
  familyId: filled(16),
  imageId: filled(16),
  abi: { major: 1, minor: 55 },
  permitted: [],
  required: ['singleSocket', 'memoryAes256Xts', 'raplDisabled', 'ciphertextHiding', 'pageSwapDisabled'],
  platformSmt: 'refused',
  platformTio: 'refused',
  platformRequired: ['tsme', 'ecc', 'raplDisabled', 'ciphertextHiding', 'aliasCheck', 'iommuWriteSafe'],
  platformBits: [],
  launchMitigations: 0x1111_1111_1111_1111n,
  currentMitigations: 0x1111_1111_1111_1111n,
  floors: { reported: floor, committed: floor, current: floor, launch: floor },
  provisionalFirmware: 'refused',
  idKeys: [new Uint8Array(48)],
  authorKeys: [new Uint8Array(48)],
  revocation: 'required',
};

const SIGNATURE_AT = 0x2a0;
const snp: Subject = {
  layout: SNP_REPORT,
  bytes: snpReport(),
  judge: async (at, changed) => {
    const report = snpReport(at, changed);
    // Signing writes the signature: what is wrong with that comes after.
    if (at >= SIGNATURE_AT) report.set(changed, at);
    return appraiseSnp(await verifySnp({ ...psp.evidence(), report }, psp.pins, { now }), {
      ...snpDemands,
      // SMT of platform and policy is on: what differs is that it is not.
      permitted: ['smt'],
      platformSmt: 'permitted',
    });
  },
};

const qe = new FakeQuotingEnclave();
const td = { version: 5, extension: new Uint8Array(237), xfam: 3n } as const;
const zero48 = new Uint8Array(48);
const tdxDemands: TdxDemands = {
  mrTds: [new Uint8Array(48).fill(0xd0)],
  rtmrs: [[zero48], [zero48], [zero48], [zero48]],
  reportData: new Uint8Array(64),
  mrConfigId: zero48,
  mrOwner: zero48,
  mrOwnerConfig: zero48,
  mrSeams: [new Uint8Array(48).fill(0x5e)],
  permitted: [],
  septVeDisable: 'required',
  xfamAllowed: 3n,
  serviceTds: [],
  devices: [],
  migrated: 'refused',
  vmId: 0,
  tcbStatuses: ['UpToDate'],
  currentTcbStatuses: ['UpToDate'],
  minimumEvaluation: 'any',
};
const collateral = qe.collateral({ statuses: ['UpToDate', 'OutOfDate'] });

async function judgeQuote(quote: Uint8Array): Promise<readonly Check[]> {
  return appraiseTdx(await verifyTdx({ quote, collateral }, qe.pins, { now }), tdxDemands);
}
const quoted: Subject = {
  layout: TDX_QUOTE,
  bytes: qe.quote(td).subarray(0, TDX_QUOTE.length),
  judge: (at, changed) => judgeQuote(qe.quote(td, { signed: { [at]: changed } })),
};
const enclave: Subject = {
  layout: QE_REPORT,
  bytes: parseQuote(qe.quote(td)).qeReport.signed,
  judge: (at, changed) => judgeQuote(qe.quote(td, { qeReport: { [at]: changed } })),
};

const paravisor = new FakeParavisor();
const vtpm = paravisor.quote(filled(32));
const hclReport = (runtimeData: Uint8Array = paravisor.runtimeData()): Buffer =>
  paravisor.hclReport({
    platform: 'snp',
    hardwareReport: psp.report({ reportData: paravisor.reportData(runtimeData) }),
    runtimeData,
  });

/** Who says it is shown by refusals alone: what the hardware's report says is judged above. */
async function judgeHcl(report: Uint8Array): Promise<readonly Check[]> {
  await verifyAzureSnp({ ...psp.evidence(), hclReport: report, vtpm }, psp.pins, { now });
  return [];
}
const plainHcl = hclReport();
const hcl: Subject = {
  layout: HCL_REPORT,
  bytes: plainHcl.subarray(0, HCL_REPORT.length),
  judge: (at, changed) => {
    const report = Buffer.from(plainHcl);
    report.set(changed, at);
    return judgeHcl(report);
  },
};

/** Fields of which only a lower value is wrong, or one that lacks a bit. */
const FLOORS = ['GUEST_SVN', 'LAUNCH_MIT_VECTOR', 'CURRENT_MIT_VECTOR', 'ISVSVN'];
/** Bytes of versions that no level asks anything of: a higher value is as good. */
const UNASKED = ['CURRENT_TCB', 'COMMITTED_TCB', 'LAUNCH_TCB', 'TEE_TCB_SVN', 'TEE_TCB_SVN2', ...FLOORS];
/** Each bit of a field with its own row, or the field itself. */
function rowsOf(field: Field): { readonly row: Judged; readonly name: string; readonly bits: readonly number[] }[] {
  return (field.bits ?? []).map(({ bit, last = bit, name, ...row }) => ({
    row,
    name: `${field.name}, ${name}`,
    bits: Array.from({ length: last - bit + 1 }, (_, index) => bit + index),
  }));
}

async function meets(row: Judged, name: string, found: readonly string[]): Promise<void> {
  if ('reason' in row) assert.deepEqual(found, [], `${name} has a reason, and is judged`);
  else
    assert.ok(
      found.some((each) => row.by.includes(each)),
      `${name}: met ${found.join(', ') || 'nothing'}`,
    );
}

for (const subject of [snp, quoted, enclave, hcl]) {
  const { layout, bytes } = subject;
  describe(layout.title, () => {
    test('has a row for every byte, and for every bit where rows are by bits', () => {
      let at = 0;
      for (const field of layout.fields) {
        assert.equal(field.at, at, field.name);
        at += field.length;
        if (field.bits === undefined) continue;
        let bit = 0;
        for (const each of field.bits) {
          assert.equal(each.bit, bit, `${field.name}, ${each.name}`);
          bit = (each.last ?? each.bit) + 1;
        }
        assert.equal(bit, 8 * field.length, field.name);
      }
      assert.equal(at, layout.length);
      assert.equal(bytes.length, layout.length);
    });

    test('passes as it is demanded', async () =>
      assert.deepEqual(await metBy(() => subject.judge(0, bytes.subarray(0, 1))), []));

    for (const field of layout.fields) {
      const place = `${field.name} at 0x${field.at.toString(16)}`;
      if (field.bits !== undefined) {
        for (const { row, name, bits } of rowsOf(field)) {
          test(`${place}: ${name}`, async () => {
            for (const bit of bits) {
              const byte = field.at + (bit >> 3);
              const changed = Uint8Array.of((bytes[byte] ?? 0) ^ (1 << (bit & 7)));
              const found = await metBy(() => subject.judge(byte, changed));
              // Of a version or a permission that is on, more is not less: SMT is permitted here, and higher ABIs are.
              const harmless = name.includes('ABI_') || name.endsWith(', SMT') || name.endsWith(', SMT_EN');
              if (!harmless) await meets(row, `${name} ${bit}`, found);
            }
          });
        }
        continue;
      }
      test(place, async () => {
        let judged = 0;
        for (let offset = 0; offset < field.length; offset++) {
          const byte = field.at + offset;
          const was = bytes[byte] ?? 0;
          // Nothing at all, or every bit the other way round.
          const values = was === 0 ? [0xff] : [0, was ^ 0xff];
          const all = await Promise.all(values.map((value) => metBy(() => subject.judge(byte, Uint8Array.of(value)))));
          const found = all.find((each) => each.length > 0) ?? [];
          if (found.length === 0 && UNASKED.includes(field.name)) continue;
          judged++;
          await meets(field, `byte ${offset}`, found);
        }
        assert.ok(judged > 0, 'no byte of it is judged');
      });
    }
  });
}

test('permissions and versions that more of is no less are judged by what is asked', async () => {
  const judge = async (at?: number, changed?: Uint8Array): Promise<string[]> =>
    failing(
      appraiseSnp(
        await verifySnp({ ...psp.evidence(), report: snpReport(at, changed) }, psp.pins, { now }),
        snpDemands,
      ),
    );
  assert.deepEqual(await judge(), ['snp.policy.smt', 'snp.platform.smt']);
  assert.ok((await judge(8, Uint8Array.of(0x36))).includes('snp.abi'));
  assert.ok((await judge(9, Uint8Array.of(0))).includes('snp.abi'));
});

test('the parsers read these fields and no others', () => {
  const named = ({ fields }: Layout): string[] => [...new Set(fields.flatMap(({ parsed = [] }) => parsed))].toSorted();
  assert.deepEqual(Object.keys(parseReport(snp.bytes)).toSorted(), named(SNP_REPORT));
  const { report, qeReport } = parseQuote(qe.quote(td));
  assert.deepEqual(Object.keys(report).toSorted(), named(TDX_QUOTE));
  assert.deepEqual(Object.keys(qeReport).toSorted(), named(QE_REPORT));
  assert.deepEqual(Object.keys(parseHclReport(hclReport())).toSorted(), named(HCL_REPORT));
  const extension = TDX_QUOTE.fields.findIndex(({ parsed }) => parsed?.includes('extension'));
  assert.equal(Object.keys(report.extension ?? {}).length, TDX_QUOTE.fields.length - extension);
});

describe('structures without places', () => {
  const names = ({ fields }: Members): string[] => fields.map(({ name }) => name).toSorted();
  const rowOf = ({ fields }: Members, name: string): Judged => {
    const row = fields.find((each) => each.name === name);
    assert.ok(row !== undefined, name);
    return row;
  };

  test('a quote of a TPM', async () => {
    const good = fakeQuote();
    const parsed = parseAttest(good.attest) as QuoteAttest;
    const { clockInfo, ...others } = parsed;
    const keys = ['magic', ...Object.keys(others), ...Object.keys(clockInfo).map((name) => `clockInfo.${name}`)];
    assert.deepEqual(keys.toSorted(), names(TPM_QUOTE));
    const changes: Readonly<Record<string, Parameters<typeof fakeQuote>[0]>> = {
      magic: { transform: (bytes) => bytes.with(0, 0) },
      type: { transform: (bytes) => bytes.with(5, 0x19) },
      qualifiedSigner: { change: { qualifiedSigner: parsed.qualifiedSigner.with(3, 9) } },
      extraData: { change: { extraData: new Uint8Array(32) } },
      'clockInfo.clock': { change: { clockInfo: { ...clockInfo, clock: 1n } } },
      'clockInfo.resetCount': { change: { clockInfo: { ...clockInfo, resetCount: 0 } } },
      'clockInfo.restartCount': { change: { clockInfo: { ...clockInfo, restartCount: 9 } } },
      'clockInfo.safe': { change: { clockInfo: { ...clockInfo, safe: false } } },
      firmwareVersion: { change: { firmwareVersion: 0n } },
      selection: { change: { selection: [{ bank: 'sha256', pcrs: [0] }] } },
      pcrDigest: { change: { pcrDigest: new Uint8Array(32) } },
    };
    assert.deepEqual(Object.keys(changes).toSorted(), names(TPM_QUOTE));
    for (const [name, change] of Object.entries(changes)) {
      const found = await metBy(async () => {
        await verifyQuote(fakeQuote(change));
        return [];
      });
      await meets(rowOf(TPM_QUOTE, name), name, found);
    }
  });

  test('a certification of a TPM', async () => {
    const { qualifiedSigner, extraData, clockInfo, firmwareVersion } = parseAttest(fakeQuote().attest);
    const made: Attest = {
      type: 'certify',
      ...{ qualifiedSigner, extraData, clockInfo, firmwareVersion },
      name: new Uint8Array(34),
      qualifiedName: new Uint8Array(34),
    };
    assert.deepEqual(Object.keys(parseAttest(attest.encode(made))).toSorted(), names(TPM_CERTIFY));
    const found = await metBy(async () => {
      await verifyQuote(fakeQuote({ transform: () => attest.encode(made) }));
      return [];
    });
    await meets(rowOf(TPM_CERTIFY, 'type'), 'type', found);
  });

  test('runtime data of an HCL report', async () => {
    const other = new FakeParavisor();
    const { keys } = JSON.parse(Buffer.from(other.runtimeData()).toString()) as { readonly keys: unknown };
    const changes: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
      keys: { keys },
      'vm-configuration': { 'vm-configuration': { vmUniqueId: '1' } },
      'user-data': { 'user-data': 'ff'.repeat(64) },
    };
    const made = JSON.parse(Buffer.from(paravisor.runtimeData()).toString()) as object;
    assert.deepEqual(Object.keys(made).toSorted(), names(HCL_RUNTIME));
    assert.deepEqual(Object.keys(changes).toSorted(), names(HCL_RUNTIME));
    for (const [name, change] of Object.entries(changes)) {
      const runtimeData = paravisor.runtimeData(change);
      await meets(rowOf(HCL_RUNTIME, name), name, await metBy(() => judgeHcl(hclReport(runtimeData))));
      const unbound = hclReport();
      unbound.set(
        runtimeData.subarray(0, 1).map((byte) => byte ^ 1),
        HCL_REPORT.length,
      );
      assert.deepEqual(await metBy(() => judgeHcl(unbound)), ['!binding']);
    }
  });

  test("Google's endorsement", async () => {
    const gce = new FakeGce();
    const [digest, launch, mrTd] = [1, 2, 3].map((byte) => new Uint8Array(48).fill(byte)) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const good = { digest, snp: new Map([[1, launch]]), mrTd, timestamp: EPOCH };
    const verify = (fields: Partial<Parameters<typeof gce.golden>[0]>) =>
      verifyGceEndorsement(gce.endorsement(gce.golden({ ...good, ...fields })), [gce.firmwareRootDer], gce.pins, {
        now,
      });
    assert.deepEqual(Object.keys((await verify({})).golden).toSorted(), names(GCE_ENDORSEMENT));
    const other = new Uint8Array(48).fill(9);
    const asked = { firmware: digest, snp: { measurement: launch, vcpus: 1 }, mrTd } as const;
    // How old it may be is a part of `gcp.firmware`, which test/clouds.test.ts holds.
    const changes: Readonly<Record<string, Parameters<typeof verify>[0]>> = {
      certificate: { certificate: gce.tpmIntermediateDer },
      digest: { digest: other },
      snp: { snp: new Map([[1, other]]) },
      tdx: { mrTd: other },
    };
    assert.deepEqual(await metBy(async () => appraiseGceEndorsement(await verify({}), asked)), []);
    for (const [name, change] of Object.entries(changes)) {
      const found = await metBy(async () => appraiseGceEndorsement(await verify(change), asked));
      await meets(rowOf(GCE_ENDORSEMENT, name), name, found);
    }
  });

  test('a document of Nitro', async () => {
    const hypervisor = new FakeNitroHypervisor();
    const document = await hypervisor.document();
    const keys = [...(decodeCbor(parseSign1(document).payload, { indefinite: true }) as Map<string, unknown>).keys()];
    assert.deepEqual(keys.toSorted(), names(NITRO_DOCUMENT));
    const none = new Uint8Array();
    const demands: NitroDemands = {
      pcrs: new Map([0, 1, 2].map((index) => [index, [new Uint8Array(48).fill(index + 1)]])),
      nonce: none,
      userData: none,
      publicKey: none,
      debug: 'refused',
    };
    const other = new FakeNitroHypervisor();
    const changes: Readonly<Record<string, Parameters<typeof hypervisor.document>[0]>> = {
      module_id: { module_id: 'i-0-enc0' },
      timestamp: { timestamp: 1 },
      digest: { digest: 'SHA256' },
      pcrs: { pcrs: new Map([0, 1, 2].map((index) => [index, new Uint8Array(48)])) },
      certificate: { certificate: other.leafDer },
      cabundle: { cabundle: [other.rootDer] },
      public_key: { public_key: Uint8Array.of(1) },
      user_data: { user_data: Uint8Array.of(1) },
      nonce: { nonce: Uint8Array.of(1) },
    };
    assert.deepEqual(Object.keys(changes).toSorted(), names(NITRO_DOCUMENT));
    for (const [name, change] of Object.entries(changes)) {
      const bytes = await hypervisor.document(change);
      const found = await metBy(async () =>
        appraiseNitro(await verifyNitro(bytes, hypervisor.pins, { now: EPOCH + 2000 }), demands),
      );
      await meets(rowOf(NITRO_DOCUMENT, name), name, found);
    }
  });
});

test('docs/reference/report-fields.md is made from the rows', async () => {
  assert.ok(LAYOUTS.length + MEMBERS.length > 0);
  const file = join(import.meta.dirname, '../../docs/reference/report-fields.md');
  assert.equal(await readFile(file, 'utf8'), reportFieldsMarkdown());
});
