/** SEV-SNP reports of real and synthetic chips. */

import { isDeepStrictEqual } from 'node:util';
import { VENDOR_ANCHORS } from '../../../attestation/src/anchors.ts';
import { toHex } from '../../../attestation/src/bytes.ts';
import { EvidenceError } from '../../../attestation/src/errors.ts';
import {
  type AuthenticatedSnp,
  appraiseSnp,
  cpuidEax,
  parseCertificateTable,
  REPORT_LENGTH,
  readEndorsementKey,
  type SnpDemands,
  type SnpReport,
  type TcbVersion,
  verifySnp,
} from '../../../attestation/src/snp/index.ts';
import type { Check } from '../../../attestation/src/verdict/verdict.ts';
import {
  commonName,
  type Pin,
  parseCertificate,
  parseCrl,
  pinsOf,
  verifyChain,
  verifyNotRevoked,
} from '../../../attestation/src/x509/index.ts';
import { certificateIn, certificatesIn, crlIn } from '../encoding.ts';
import { atLayer, type LayerRow, layerIn, layerOf } from '../layer.ts';
import { type Case, compare, fileOf, filesOf, type Outcome } from '../topic.ts';

export const topic = 'snp-reports';

interface Expected {
  readonly result?: 'accept' | 'reject';
  readonly reject_at?: string;
  readonly peer_error?: string;
  readonly verify_at?: string;
  readonly parse?: 'ok';
  readonly product_line?: string;
  readonly signing_key?: string;
  readonly fields?: Readonly<Record<string, string | number>>;
  readonly measurement?: string;
  readonly report_data?: string;
  readonly policy?: Readonly<Record<string, unknown>>;
  readonly expected_product?: { readonly line: 'Milan' | 'Genoa' | 'Turin'; readonly stepping: number };
  readonly cert_table?: readonly unknown[];
  readonly edit?: string;
  readonly [key: string]: unknown;
}

/** Words of the manifests, and the layers of ours that they mean. */
const LAYERS: readonly LayerRow[] = [
  [/^product-pin/, ['appraisal'], /snp\.product$/],
  [/REPORTED_TCB .* lower/, ['appraisal'], /snp\.tcb\.reported/],
  [/LAUNCH_TCB .* lower/, ['appraisal'], /snp\.tcb\.launch/],
  [/COMMITTED_TCB .* lower/, ['appraisal'], /snp\.tcb\.committed/],
  [/COMMITTED_TCB .* does not match|committed (?:API|build)/, ['appraisal'], /snp\.provisional/],
  [/REPORTED_TCB .* does not match/, ['identity'], /reported TCB .* is not the key's/],
  [/signature and TCB/, ['signature', 'identity'], /report signature does not verify|reported TCB/],
  [/CHIP_ID/, ['identity'], /chip id .* is not the key's/],
  [/MEASUREMENT is/, ['appraisal'], /snp\.measurement/],
  [/REPORT_DATA is/, ['appraisal'], /snp\.report-data/],
  [/HOST_DATA is/, ['appraisal'], /snp\.host-data/],
  [/ID key not trusted/, ['appraisal'], /snp\.id-key/],
  [/author key not trusted/, ['appraisal'], /snp\.author-key/],
  [/platform feature SMT/, ['appraisal'], /snp\.platform\.smt/],
  [/\(SMT\) capability/, ['appraisal'], /snp\.policy\.smt/],
  [/debug capability/, ['appraisal'], /snp\.policy\.debug/],
  [/migration agent/, ['appraisal'], /snp\.policy\.migrationAgent/],
  [/policy ABI version/, ['appraisal'], /snp\.abi/],
  [/VMPL \d is not/, ['appraisal'], /snp\.vmpl/],
  [/GUEST_SVN/, ['appraisal'], /snp\.guest-svn/],
  [/was revoked|^revocation/, ['revoked'], /was revoked at/],
  [/^crl signature|CRL is not signed/, ['collateral'], /CRL is not by|signature of the CRL/],
  [/expired or is not|^certificate validity/, ['validity'], /certificate .* is valid from/],
  [/missing V[CL]EK certificate/, ['identity'], /report is signed by/],
  [/unknown signature algorithm/, ['signature'], /signature algorithm \d+/],
  [/ECDSA verification failure|^signature/, ['signature'], /report signature does not verify/],
  // The peer has no roots for a processor of another line.
  [/trusted roots\. Last error: <nil>/, ['identity'], /report is of family/],
  [/unknown authority|^chain/, ['chain'], /did not issue|no certificate of the issuer|endorsement key does not parse/],
  [/guest policy/, ['format'], /guest policy/],
  [/mbz range/, ['format'], /is not zero/],
  [/array size/, ['format'], /bytes wanted|after the end/],
  // Version 6 is read, and refused unless named.
  [/report version/, ['format', 'appraisal'], /report version|snp\.version/],
];

export async function run(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  if (!test.files.report) return test.files.crl ? runCrl(test, dir) : runKey(test, dir);
  let verified: AuthenticatedSnp | undefined;
  const got = await layerOf(async () => {
    verified = await verify(test, dir);
    return appraiseSnp(verified, demandsOf(expected)).filter(isDemanded);
  });
  if (expected.reject_at !== undefined) {
    return atLayer(`${expected.reject_at}: ${expected.peer_error ?? ''}`, got, LAYERS);
  }
  if (got !== 'accept' || verified === undefined) return { exact: false, expected: expected.result, got };
  return compare(shown(expected), await describe(test, dir, verified, expected));
}

async function verify(test: Case, dir: string): Promise<AuthenticatedSnp> {
  const { edit, verify_at } = test.expected as Expected;
  const full = await fileOf(test, 'report', dir);
  const cut = /^use only the first (\d+) bytes$/.exec(edit ?? '')?.[1];
  const evidence = {
    report: cut === undefined ? unpadded(full) : full.subarray(0, Number(cut)),
    leaf: certificateIn(await fileOf(test, test.files.vlek ? 'vlek' : 'vcek', dir)),
    intermediates: await intermediates(test, dir),
    crl: test.files.crl ? crlIn(await fileOf(test, 'crl', dir)) : ('none' as const),
  };
  return verifySnp(evidence, await pins(test, dir), { now: Date.parse(String(verify_at)) });
}

/** Some sources pad the report with zeros to the length of the firmware's answer. */
function unpadded(file: Uint8Array): Uint8Array {
  return file.subarray(REPORT_LENGTH).some((byte) => byte !== 0) ? file : file.subarray(0, REPORT_LENGTH);
}

async function intermediates(test: Case, dir: string): Promise<Uint8Array[]> {
  const files = await Promise.all(['trust', 'ask', 'trusted_ark'].map((name) => filesOf(test, name, dir)));
  return files.flat().flatMap(certificatesIn);
}

/** Real evidence is held against AMD's own roots, whatever file a case brings along; synthetic against its own. */
async function pins(test: Case, dir: string): Promise<readonly Pin[]> {
  const [ark] = await filesOf(test, 'trusted_ark', dir);
  return ark === undefined ? VENDOR_ANCHORS.amd : [pinsOf(parseCertificate(certificateIn(ark))).certificate];
}

/** The manifests' demands beyond authenticity; everything else is open. */
function demandsOf({ policy = {}, expected_product }: Expected): SnpDemands {
  const allow = String(policy.allow ?? '');
  const minor = /abi(?: minor required)? ?>= ?(?:1\.)?(\d+)/.exec(allow)?.[1];
  const bytes = (name: string): Uint8Array | undefined =>
    policy[name] === undefined ? undefined : Buffer.from(String(policy[name]), 'hex');
  const measurement = bytes('measurement');
  const floor = (name: string): Record<string, TcbVersion> | 'any' => {
    const tcb = policy[name] as Record<string, number> | undefined;
    return tcb ? { Milan: tcbOf(tcb), Genoa: tcbOf(tcb) } : 'any';
  };
  return {
    versions: [2, 3, 4, 5],
    familyId: 'any',
    imageId: 'any',
    platformTio: 'permitted',
    platformBits: [],
    launchMitigations: 'any',
    currentMitigations: 'any',
    measurements: measurement ? [measurement] : 'any',
    reportData: bytes('report_data') ?? 'any',
    hostData: bytes('host_data') ?? 'any',
    products: expected_product ? [expected_product] : 'any',
    vmpl: (policy.vmpl as number | undefined) ?? 'any',
    guestSvn: (policy.min_guest_svn as number | undefined) ?? 'any',
    abi: minor ? { major: 1, minor: Number(minor) } : 'any',
    permitted: allow === '' ? 'any' : /^SMT\b|, SMT\b/.test(allow) ? ['smt'] : [],
    required: [],
    platformSmt: policy.platform_info_allowed === 'no bits' ? 'refused' : 'permitted',
    platformRequired: [],
    floors: {
      reported: floor('min_tcb'),
      launch: floor('min_launch_tcb'),
      committed: floor('min_committed_tcb'),
      current: 'any',
    },
    provisionalFirmware: policy.permit_provisional_firmware === false ? 'refused' : 'permitted',
    idKeys: policy.require_id_block ? [] : 'any',
    authorKeys: 'any',
    revocation: 'any',
  };
}

function tcbOf(tcb: Record<string, number>): TcbVersion {
  const { BlSpl = 0, TeeSpl = 0, SnpSpl = 0, UcodeSpl = 0 } = tcb;
  return { bootloader: BlSpl, tee: TeeSpl, snp: SnpSpl, microcode: UcodeSpl };
}

function isDemanded({ outcome, required }: Check): boolean {
  return required || outcome !== 'not run';
}

/** What an accepting case asks to be shown, of what we can show. */
function shown(expected: Expected): Record<string, unknown> {
  const names = ['product_line', 'signing_key', 'fields', 'measurement', 'report_data', 'cert_table', 'kds_url'];
  return Object.fromEntries(names.filter((name) => name in expected).map((name) => [name, expected[name]]));
}

async function describe(
  test: Case,
  dir: string,
  { report, product, endorsement, tcb }: AuthenticatedSnp,
  expected: Expected,
): Promise<Record<string, unknown>> {
  const { bootloader, tee, snp, microcode } = tcb.reported;
  const spls = `blSPL=${bootloader}&teeSPL=${tee}&snpSPL=${snp}&ucodeSPL=${microcode}`;
  const all: Record<string, unknown> = {
    product_line: product,
    signing_key: endorsement.signer,
    fields: fieldsOf(report),
    measurement: toHex(report.measurement),
    report_data: toHex(report.reportData),
    kds_url: `https://kdsintf.amd.com/vcek/v1/${product}/${toHex(report.chipId)}?${spls}`,
  };
  if (test.files.cert_table) {
    const table = parseCertificateTable(await fileOf(test, 'cert_table', dir));
    all.cert_table = table.map(({ guid, kind, offset, length }) => ({ guid, kind, offset, length }));
  }
  return Object.fromEntries(Object.keys(shown(expected)).map((name) => [name, all[name]]));
}

function fieldsOf(report: SnpReport): Record<string, string | number> {
  const tcb = (value: bigint): string => value.toString(16).padStart(16, '0');
  const bits = (value: bigint | number): string => `0x${value.toString(16)}`;
  return {
    version: report.version,
    guest_svn: report.guestSvn,
    policy: bits(report.policyBits),
    family_id: toHex(report.familyId),
    image_id: toHex(report.imageId),
    vmpl: report.vmpl,
    platform_info: bits(report.platformBits),
    signer_info: report.signerInfo,
    report_data: toHex(report.reportData),
    measurement: toHex(report.measurement),
    host_data: toHex(report.hostData),
    id_key_digest: toHex(report.idKeyDigest),
    author_key_digest: toHex(report.authorKeyDigest),
    report_id: toHex(report.reportId),
    chip_id: toHex(report.chipId),
    current_tcb: tcb(report.currentTcb),
    reported_tcb: tcb(report.reportedTcb),
    committed_tcb: tcb(report.committedTcb),
    launch_tcb: tcb(report.launchTcb),
    cpuid_1_eax_fms: bits(report.cpu === undefined ? 0 : cpuidEax(report.cpu)),
  };
}

/** A CRL alone, or with an ASK that it may revoke. Without a time, any within its dates. */
async function runCrl(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const crl = parseCrl(crlIn(await fileOf(test, 'crl', dir)));
  const certificates = (await intermediates(test, dir)).map(parseCertificate);
  const ark = certificates.find((one) => commonName(one.subject).startsWith('ARK-'));
  const ask = test.files.ask
    ? parseCertificate(certificateIn(await fileOf(test, 'ask', dir)))
    : certificates.find((one) => one !== ark);
  const now = expected.verify_at ? Date.parse(expected.verify_at) : crl.thisUpdate;
  const got = await layerOf(async () => {
    if (!ark || !ask) throw new EvidenceError('chain', 'no ARK or ASK in the case');
    await verifyChain(ask, [ark], VENDOR_ANCHORS.amd, { now });
    await verifyNotRevoked(ask, ark, crl, { now });
  });
  if (expected.reject_at !== undefined) return atLayer(expected.reject_at, got, LAYERS);
  // Our policy on a list past its nextUpdate, which such a case leaves to the verifier: it is refused.
  if (expected.result === undefined)
    return { exact: layerIn(got) === 'validity', expected: 'refused as out of date', got };
  const times = [crl.thisUpdate, crl.nextUpdate].map((time) => new Date(time).toISOString().replace('.000', ''));
  const serials = [...crl.revoked.keys()].map((serial) => `0x${serial.replace(/^0+/, '')}`);
  const { revoked_serials, this_update, next_update } = expected;
  return compare([expected.result, revoked_serials, this_update, next_update], [got, serials, ...times]);
}

/** An endorsement key certificate alone: what it says, and that nobody vouches for it. */
async function runKey(test: Case, dir: string): Promise<Outcome> {
  const expected = test.expected as Expected;
  const certificate = parseCertificate(certificateIn(await fileOf(test, test.files.vlek ? 'vlek' : 'vcek', dir)));
  const others = (await intermediates(test, dir)).map(parseCertificate);
  const key = readEndorsementKey(certificate);
  const at = (byte: number): number => Number((key.tcb >> BigInt(8 * byte)) & 0xffn);
  const tcb = { blSPL: at(0), teeSPL: at(1), snpSPL: at(6), ucodeSPL: at(7) };
  const facts = [toHex(key.hardwareId ?? new Uint8Array()), tcb, key.productName];
  const stated = [expected.hwid, expected.tcb_extensions, expected.product_name];
  const got = await layerOf(async () => {
    await verifyChain(certificate, others, await pins(test, dir), { now: certificate.notBefore });
  });
  const layer = atLayer(String(expected.reject_at), got, LAYERS);
  return isDeepStrictEqual(facts, stated) ? layer : { exact: false, expected: stated, got: facts };
}
