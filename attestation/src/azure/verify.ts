/**
 * Authenticity of Azure confidential VMs. The hardware vouches for the paravisor, the paravisor for
 * the vTPM's key, and that key for the registers.
 */

import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import { type AuthenticatedSnp, type SnpEvidence, verifySnp } from '../snp/verify.ts';
import { type AuthenticatedTdx, type TdxEvidence, verifyTdx } from '../tdx/verify.ts';
import type { PcrBanks, PcrSelection } from '../tpm/pcr.ts';
import { type AuthenticatedQuote, verifyQuoteUnderKey } from '../tpm/quote.ts';
import type { Pin } from '../x509/chain.ts';
import { checkRuntimeBinding, type HclReport, parseHclReport, type RuntimeData, readRuntimeData } from './hcl.ts';

/** A quote of the vTPM, as it travels. */
export interface VtpmQuote {
  /** TPMS_ATTEST, as signed. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** The selection that the caller demands, and exactly its values. */
  readonly selection: PcrSelection;
  readonly banks: PcrBanks;
  /** The extraData that the quote must have been made for. */
  readonly expectedExtraData: Uint8Array;
}

/** Evidence that a VM on SEV-SNP presents. */
export interface AzureSnpEvidence extends Omit<SnpEvidence, 'report'> {
  readonly hclReport: Uint8Array;
  readonly vtpm: VtpmQuote;
}

/** Evidence that a VM on TDX presents. */
export interface AzureTdxEvidence extends Omit<TdxEvidence, 'quote'> {
  readonly hclReport: Uint8Array;
  /** Quote over the same TDREPORT that the HCL report holds. */
  readonly tdQuote: Uint8Array;
  readonly vtpm: VtpmQuote;
}

declare const authenticated: unique symbol;

/** An Azure VM whose parts belong together: made by the functions below alone. */
export interface AuthenticatedAzure<H extends AuthenticatedSnp | AuthenticatedTdx> {
  readonly [authenticated]: true;
  readonly hardware: H;
  /** The paravisor's statement of the VM. The hardware measured the paravisor. */
  readonly runtime: RuntimeData;
  readonly quote: AuthenticatedQuote;
}

/** @throws EvidenceError as `verifySnp` and `verifyQuoteUnderKey`; `platform`, `binding`. */
export async function verifyAzureSnp(
  evidence: AzureSnpEvidence,
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedAzure<AuthenticatedSnp>> {
  const hcl = parseHcl(evidence.hclReport, 'snp');
  const hardware = await verifySnp({ ...evidence, report: hcl.hardwareReport }, pins, options);
  const { vmpl } = hardware.report;
  // Below VMPL 0 the guest itself may have asked for the report, with whatever key it likes.
  if (vmpl !== 0) throw new EvidenceError('binding', `report of VMPL ${vmpl}, the paravisor is at 0`);
  return bindVtpm(hcl, hardware, hardware.report.reportData, evidence.vtpm);
}

/** @throws EvidenceError as `verifyTdx` and `verifyQuoteUnderKey`; `platform`, `binding`. */
export async function verifyAzureTdx(
  evidence: AzureTdxEvidence,
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedAzure<AuthenticatedTdx>> {
  const hcl = parseHcl(evidence.hclReport, 'tdx');
  const hardware = await verifyTdx({ ...evidence, quote: evidence.tdQuote }, pins, options);
  return bindVtpm(hcl, hardware, hardware.quote.report.reportData, evidence.vtpm);
}

function parseHcl(bytes: Uint8Array, platform: HclReport['platform']): HclReport {
  const hcl = parsePart('format', 'HCL report', bytes, parseHclReport);
  if (hcl.platform === platform) return hcl;
  throw new EvidenceError('platform', `HCL report is of ${hcl.platform}, expected ${platform}`);
}

/**
 * Verifies the vTPM's quote under the key in the runtime data, whatever key the evidence may have
 * brought along.
 */
async function bindVtpm<H extends AuthenticatedSnp | AuthenticatedTdx>(
  hcl: HclReport,
  hardware: H,
  reportData: Uint8Array,
  vtpm: VtpmQuote,
): Promise<AuthenticatedAzure<H>> {
  checkRuntimeBinding(hcl, reportData);
  const runtime = parsePart('format', 'runtime data', hcl, readRuntimeData);
  const quote = await verifyQuoteUnderKey({ ...vtpm, spki: runtime.attestationKey });
  return { hardware, runtime, quote } as AuthenticatedAzure<H>;
}
