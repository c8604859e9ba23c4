/** Intel TDX quotes of real machines, alone and with Intel's collateral of their day. */

import { VENDOR_ANCHORS } from '../../../attestation/src/anchors.ts';
import { fromHex, toHex, utf8 } from '../../../attestation/src/bytes.ts';
import {
  type AuthenticatedTdx,
  appraiseTdx,
  quoteLength,
  TDX_CAREFUL,
  type TdReport,
  type TdxCollateral,
  type TdxDemands,
  verifyTdx,
} from '../../../attestation/src/tdx/index.ts';
import { parsePem } from '../../../attestation/src/x509/index.ts';
import { atLayer, type LayerRow, layerOf } from '../layer.ts';
import { type Case, compare, fileOf, type Outcome } from '../topic.ts';

export const topic = 'tdx-quotes';

interface Expected {
  readonly result: 'accept' | 'reject' | 'tcb-status';
  readonly reject_at?: string;
  readonly verify_at: string;
  readonly fields?: Readonly<Record<string, string | number>>;
  readonly [key: string]: unknown;
}

/** Words of the manifests, and the layers of ours that they mean. */
const LAYERS: readonly LayerRow[] = [
  [/debug/i, ['appraisal'], /tdx\.attributes\.debug/],
  [/SEPT_VE_DISABLE/, ['appraisal'], /tdx\.attributes\.septVeDisable/],
  // Lists and documents of one day: which of them is found to be out of date first is an order of checks.
  [/expired|issue date/, ['validity'], /(?:TCB info|QE identity|CRL|certificate) .*is valid from/],
  [/No matching TCB level/, ['collateral'], /below every known TCB level/],
  [/^tcbinfo/, ['collateral'], /signature of the TCB info does not verify/],
  [/^qeidentity/, ['collateral'], /signature of the QE identity does not verify/],
  [/^(?:pck|root)crl/, ['collateral'], /signature of the CRL/],
  [/^wrong-fmspc/, ['collateral'], /TCB info is of platform/],
  [/^crls-swapped/, ['collateral'], /CRL is not by/],
  [/^tcb-chain/, ['collateral'], /not signed by a certificate right under the root/],
  [/version/, ['format'], /quote version/],
  [/TEE type/, ['format'], /TEE type/],
  [/key type/, ['format'], /attestation key type/],
  [/certification data/, ['format'], /certification data type/],
  [/^length/, ['format'], /bytes wanted|after the end/],
  [/vendor/, ['format'], /quoting enclave of vendor/],
  [/QE report signature/, ['signature'], /report of the quoting enclave does not verify/],
  [/binding/, ['binding'], /attestation key is not the one/],
  [/chain/, ['chain'], /did not issue|no certificate of the issuer/],
  [/quote signature/, ['signature'], /quote signature does not verify/],
];

/** What the manifests take for granted of a guest, whatever it measures. */
const DEMANDS: TdxDemands = {
  ...TDX_CAREFUL,
  mrTds: 'any',
  rtmrs: ['any', 'any', 'any', 'any'],
  tcbStatuses: 'any',
  currentTcbStatuses: 'any',
};

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const file = await fileOf(test, 'quote', dir);
  const collateral = test.files.collateral ? readCollateral(await fileOf(test, 'collateral', dir)) : ('none' as const);
  let verified: AuthenticatedTdx | undefined;
  const got = await layerOf(async () => {
    const quote = file.subarray(0, quoteLength(file));
    verified = await verifyTdx({ quote, collateral }, VENDOR_ANCHORS.intel, { now: Date.parse(expected.verify_at) });
    // Without collateral a case is about signatures alone; a debug guest is one of those that are accepted.
    if (collateral !== 'none') return appraiseTdx(verified, DEMANDS);
    return [];
  });
  if (expected.reject_at !== undefined) return atLayer(expected.reject_at, got, LAYERS);
  if (verified === undefined) return { exact: false, expected: expected.result, got };
  return compare(shown(expected), { ...describe(verified, file, expected), ...(got !== 'accept' && { got }) });
}

function shown({ result: _result, verify_at: _at, scope: _scope, ...facts }: Expected): Record<string, unknown> {
  return facts;
}

function describe(
  { quote, platform, tcb }: AuthenticatedTdx,
  file: Uint8Array,
  expected: Expected,
): Record<string, unknown> {
  const all: Record<string, unknown> = {
    quote_length: quoteLength(file),
    file_length: file.length,
    debug_td: (quote.report.tdAttributes & 1n) === 1n,
    fmspc: platform.fmspc,
    fields: fieldsOf(quote.version, quote.report, expected.fields ?? {}),
    ...(tcb !== 'not checked' && { tcb_status: tcb.status, advisory_ids: tcb.advisories }),
  };
  return Object.fromEntries(Object.keys(shown(expected)).map((name) => [name, all[name]]));
}

function fieldsOf(version: number, report: TdReport, wanted: object): Record<string, string | number> {
  const u64 = (value: bigint): string => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, true);
    return toHex(bytes);
  };
  const all: Record<string, string | number> = {
    version,
    mr_td: toHex(report.mrTd),
    report_data: toHex(report.reportData),
    td_attributes: u64(report.tdAttributes),
    xfam: u64(report.xfam),
    tee_tcb_svn: toHex(report.teeTcbSvn),
    mr_seam: toHex(report.mrSeam),
    mr_signer_seam: toHex(report.mrSignerSeam),
    seam_attributes: toHex(report.seamAttributes),
    mr_config_id: toHex(report.mrConfigId),
    mr_owner: toHex(report.mrOwner),
    mr_owner_config: toHex(report.mrOwnerConfig),
    tee_tcb_svn2: toHex(report.teeTcbSvn2 ?? new Uint8Array()),
    mr_service_td: toHex(report.mrServiceTd ?? new Uint8Array()),
    ...Object.fromEntries(report.rtmrs.map((rtmr, index) => [`rtmr${index}`, toHex(rtmr)])),
  };
  return Object.fromEntries(Object.keys(wanted).map((name) => [name, all[name] ?? 'not known']));
}

function readCollateral(file: Uint8Array): TdxCollateral {
  const json = JSON.parse(Buffer.from(file).toString()) as Record<string, string>;
  const text = (name: string): string => json[name] ?? '';
  const chain = (name: string): Uint8Array[] => parsePem(text(name), 'CERTIFICATE');
  return {
    tcbInfo: utf8(text('tcb_info')),
    tcbInfoSignature: fromHex(text('tcb_info_signature')),
    qeIdentity: utf8(text('qe_identity')),
    qeIdentitySignature: fromHex(text('qe_identity_signature')),
    tcbInfoChain: chain('tcb_info_issuer_chain'),
    qeIdentityChain: chain('qe_identity_issuer_chain'),
    pckCrl: fromHex(text('pck_crl')),
    rootCrl: fromHex(text('root_ca_crl')),
  };
}
