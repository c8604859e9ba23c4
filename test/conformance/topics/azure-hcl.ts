/** Azure confidential VMs: HCL reports, the hardware under them and the vTPM quotes above. */

import { createPublicKey } from 'node:crypto';
import { VENDOR_ANCHORS } from '../../../attestation/src/anchors.ts';
import {
  checkRuntimeBinding,
  type HclReport,
  parseHclReport,
  type RuntimeData,
  readRuntimeData,
  type VtpmQuote,
  verifyAzureSnp,
  verifyAzureTdx,
} from '../../../attestation/src/azure/index.ts';
import { concat, fromHex, toBase64Url, toHex } from '../../../attestation/src/bytes.ts';
import { type HashName, sha256 } from '../../../attestation/src/digest.ts';
import { parseReport, type SnpReport, verifySnp } from '../../../attestation/src/snp/index.ts';
import { parseQuote, parseTdReport, quoteLength } from '../../../attestation/src/tdx/index.ts';
import { parseAttest } from '../../../attestation/src/tpm/attest.ts';
import { verifyQuoteUnderKey } from '../../../attestation/src/tpm/quote.ts';
import { commonName, parseCertificate, verifyChain } from '../../../attestation/src/x509/index.ts';
import { certificatesIn, publicKeyIn } from '../encoding.ts';
import { atLayer, type LayerRow, layerOf } from '../layer.ts';
import { type Case, compare, fileOf, filesOf, type Outcome } from '../topic.ts';

export const topic = 'azure-hcl';

interface Expected {
  readonly reject_at?: string;
  readonly order?: string;
  readonly ak_jwk?: { readonly n: string };
  readonly quote?: { readonly nonce?: string };
  readonly nonce?: string;
  readonly attest?: { readonly extra_data: string };
  readonly [key: string]: unknown;
}

/** Words of the manifests, and the layers of ours that they mean. */
const LAYERS: readonly LayerRow[] = [
  [/SHA-256\(variable data\)/, ['binding'], /report data is .*the runtime data/],
  [/^parse/, ['format'], /bytes wanted|HCL data/],
  [/pcr digest/, ['registers'], /register values are not the quoted ones/],
  [/nonce/, ['nonce'], /quoted for/],
  [/^quote signature/, ['signature'], /the quote is not signed by/],
  [/SNP signature/, ['signature'], /report signature does not verify/],
  [/chain/, ['chain'], /did not issue|no certificate of the issuer/],
];

/** The manifests name no time; every certificate among the cases was valid at this one. */
const NOW = Date.UTC(2026, 8, 1);

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  if (!test.files.hcl_report) return test.files.chain ? runChain(test, dir) : runQuote(test, dir, expected);
  const got = await layerOf(async () => {
    await verify(test, dir, expected);
  });
  if (expected.reject_at !== undefined) return atLayer(expected.reject_at, got, LAYERS);
  if (got !== 'accept') return { exact: false, expected: 'accept', got };
  return compare(expected, await describe(test, dir, expected));
}

/** As far up as the case has parts: binding, hardware, vTPM. */
async function verify(test: Case, dir: string, expected: Expected): Promise<void> {
  const hclReport = await fileOf(test, 'hcl_report', dir);
  const hcl = parseHclReport(hclReport);
  const certificates = await chainOf(test, dir);
  const [leaf, ...others] = certificates;
  const hardware = { crl: 'none' as const, intermediates: others };
  if (test.files.td_quote) {
    const vtpm = await vtpmOf(test, dir, expected);
    const file = await fileOf(test, 'td_quote', dir);
    const tdQuote = file.subarray(0, quoteLength(file));
    await verifyAzureTdx({ hclReport, tdQuote, collateral: 'none', vtpm }, VENDOR_ANCHORS.intel, { now: NOW });
  } else if (leaf !== undefined && test.files.attest) {
    const vtpm = await vtpmOf(test, dir, expected);
    await verifyAzureSnp({ ...hardware, leaf, hclReport, vtpm }, VENDOR_ANCHORS.amd, { now: NOW });
  } else {
    if (leaf !== undefined) {
      await verifySnp({ ...hardware, leaf, report: hcl.hardwareReport }, VENDOR_ANCHORS.amd, { now: NOW });
    }
    checkRuntimeBinding(hcl, reportDataOf(hcl));
    readRuntimeData(hcl);
  }
}

/** VCEK first. */
async function chainOf(test: Case, dir: string): Promise<Uint8Array[]> {
  const pems = [...(await filesOf(test, 'chain', dir)), ...(await filesOf(test, 'trust', dir))];
  return [...(await filesOf(test, 'vcek', dir)), ...pems].flatMap(certificatesIn);
}

async function vtpmOf(test: Case, dir: string, expected: Expected): Promise<VtpmQuote> {
  const attest = await fileOf(test, 'attest', dir);
  const raw = await fileOf(test, 'sig', dir);
  const parsed = parseAttest(attest);
  const json = JSON.parse(Buffer.from(await fileOf(test, 'pcrs', dir)).toString()) as Record<
    string,
    Record<string, string>
  >;
  const banks = Object.entries(json).map(([bank, values]) => {
    const pcrs = Object.entries(values).map(([index, value]) => [Number(index), fromHex(value)] as const);
    return [bank as HashName, new Map(pcrs)] as const;
  });
  const nonce = expected.quote?.nonce ?? expected.nonce;
  return {
    attest,
    // TPMT_SIGNATURE: RSASSA with SHA-256, around the bare signature of the file.
    signature: concat(Uint8Array.of(0, 0x14, 0, 0x0b, raw.length >> 8, raw.length & 0xff), raw),
    selection: parsed.type === 'quote' ? parsed.selection : [],
    banks: new Map(banks),
    expectedExtraData: nonce === undefined && parsed.type === 'quote' ? parsed.extraData : fromHex(nonce ?? ''),
  };
}

function reportDataOf(hcl: HclReport): Uint8Array {
  const { platform, hardwareReport } = hcl;
  return platform === 'snp' ? parseReport(hardwareReport).reportData : parseTdReport(hardwareReport).reportData;
}

async function describe(test: Case, dir: string, expected: Expected): Promise<Record<string, unknown>> {
  const hcl = parseHclReport(await fileOf(test, 'hcl_report', dir));
  const runtime = readRuntimeData(hcl);
  const all: Record<string, unknown> = {
    ...describeHcl(hcl, runtime),
    result: 'accept',
    ak_jwk: jwkOf(runtime, expected),
  };
  if (hcl.platform === 'snp') all.snp = describeSnp(parseReport(hcl.hardwareReport), expected);
  else all.td_report = { ...(expected.td_report as object), ...hexed(parseTdReport(hcl.hardwareReport)) };
  if (test.files.td_quote) {
    const file = await fileOf(test, 'td_quote', dir);
    const { report } = parseQuote(file.subarray(0, quoteLength(file)));
    all.td_quote = { ...hexed(report), report_data_equals_hcl: toHex(report.reportData) === toHex(reportDataOf(hcl)) };
  }
  if (test.files.attest) all.quote = describeQuote(await vtpmOf(test, dir, expected), expected);
  return Object.fromEntries(Object.keys(expected).map((name) => [name, all[name]]));
}

function describeHcl(hcl: HclReport, runtime: RuntimeData): Record<string, unknown> {
  return {
    header: {
      version: hcl.version,
      report_size: hcl.size,
      request_type: hcl.requestType,
      data_size: hcl.dataSize,
      report_type: hcl.platform,
      hash_type: ['sha256', 'sha384', 'sha512'].indexOf(hcl.hash) + 1,
      variable_data_size: hcl.runtimeData.length,
    },
    variable_data_sha256: toHex(sha256(hcl.runtimeData)),
    report_data: toHex(reportDataOf(hcl)),
    runtime_data_bound: true,
    key_ids: runtime.keyIds,
    user_data: runtime.userData === undefined ? null : toHex(runtime.userData),
    vm_configuration: runtime.vmConfiguration,
  };
}

/** The key as verified; the manifest's further members are words of the document that nothing here rests on. */
function jwkOf({ attestationKey }: RuntimeData, expected: Expected): unknown {
  const { n } = createPublicKey({ key: Buffer.from(attestationKey), format: 'der', type: 'spki' }).export({
    format: 'jwk',
  });
  return { ...expected.ak_jwk, n: toBase64Url(Buffer.from(String(n), 'base64url')) };
}

function hexed({ reportData, mrTd }: { reportData: Uint8Array; mrTd: Uint8Array }): Record<string, string> {
  return { report_data: toHex(reportData), mr_td: toHex(mrTd) };
}

function describeSnp(report: SnpReport, expected: Expected): Record<string, unknown> {
  const { version, policyBits, vmpl } = report;
  const stated = expected.snp as Record<string, unknown>;
  return {
    version,
    measurement: toHex(report.measurement),
    chip_id: toHex(report.chipId),
    reported_tcb: inByteOrder(report.reportedTcb),
    policy: `0x${policyBits.toString(16)}`,
    vmpl,
    // Shown by verifySnp having accepted.
    ...(stated?.signature_and_chain !== undefined && { signature_and_chain: 'valid' }),
  };
}

/** This topic writes TCBs as they stand in the report. */
function inByteOrder(tcb: bigint): string {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, tcb, true);
  return toHex(bytes);
}

function describeQuote({ attest }: VtpmQuote, expected: Expected): Record<string, unknown> {
  const stated = expected.quote as Record<string, unknown> | undefined;
  const all = {
    ...stated,
    attest: describeAttest(attest),
    signature_valid_under_hcl_ak: true,
    pcr_digest_matches: true,
  };
  return Object.fromEntries(Object.entries(all).filter(([name]) => stated === undefined || name in stated));
}

function describeAttest(bytes: Uint8Array): Record<string, unknown> {
  const attest = parseAttest(bytes);
  if (attest.type !== 'quote') throw new TypeError('not a quote');
  const { clock, resetCount, restartCount, safe } = attest.clockInfo;
  return {
    magic: toHex(bytes.subarray(0, 4)),
    type: toHex(bytes.subarray(4, 6)),
    qualified_signer: toHex(attest.qualifiedSigner),
    extra_data: toHex(attest.extraData),
    clock_info: { clock: Number(clock), reset_count: resetCount, restart_count: restartCount, safe },
    firmware_version: attest.firmwareVersion.toString(16).padStart(16, '0'),
    pcr_selection: attest.selection,
    pcr_digest: toHex(attest.pcrDigest),
  };
}

/** A chain as Azure's metadata service hands it out. */
async function runChain(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const [leaf, ...others] = (await chainOf(test, dir)).map(parseCertificate);
  if (leaf === undefined) return { exact: false, expected, got: 'no certificate' };
  const { path } = await verifyChain(leaf, others, VENDOR_ANCHORS.amd, { now: NOW });
  const [kinds, line] = [['VCEK', 'ASK', 'ARK'], commonName(path.at(-1)?.subject ?? leaf.subject).replace('ARK-', '')];
  return compare(expected, { result: 'accept', order: `${kinds.slice(0, path.length).join(', ')} (${line})` });
}

/** A vTPM quote under a key that the case brings along. */
async function runQuote(test: Case, dir: string, expected: Expected): Promise<Outcome> {
  const vtpm = await vtpmOf(test, dir, expected);
  const spki = publicKeyIn(await fileOf(test, 'ak', dir)).export({ type: 'spki', format: 'der' });
  const got = await layerOf(async () => {
    await verifyQuoteUnderKey({ ...vtpm, spki });
  });
  if (expected.reject_at !== undefined) return atLayer(expected.reject_at, got, LAYERS);
  const valid = { signature_valid: true, pcr_digest_matches: true };
  return compare(expected, { ...expected, ...valid, result: got, attest: describeAttest(vtpm.attest) });
}
