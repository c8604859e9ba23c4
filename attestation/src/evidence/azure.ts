/**
 * Evidence of an Azure confidential VM. The processor vouches for the paravisor, and the
 * paravisor's runtime data names the vTPM's key. The vTPM signs root and boot statement over the
 * registers.
 */

import { parseHclReport, verifyAzureSnp, verifyAzureTdx } from '../azure/index.ts';
import { EvidenceError } from '../errors.ts';
import type { AzureEvidence, Evidence } from '../gen/enclaim/v1/evidence_pb.js';
import { parsePart } from '../parse-part.ts';
import type { Anchors } from '../references/references.ts';
import type { BootStatement } from '../statement.ts';
import type { AuthenticatedQuote } from '../tpm/index.ts';
import { type Check, passed } from '../verdict/verdict.ts';
import type { AzureAuthenticated, Context, Hardware, Signed } from './authenticated.ts';
import { describeSilicon, quotedTd, snpCollateral } from './cloud-silicon.ts';
import { siliconPins } from './silicon.ts';
import { expectedQuote, registersBehind } from './vtpm.ts';

/** Proves the hardware part. @throws EvidenceError */
export async function verifyAzure(
  { hardware }: Evidence,
  statement: BootStatement,
  signed: Signed,
  anchors: Anchors,
  context: Context,
): Promise<{ hardware: Hardware; checks: Check[] }> {
  if (hardware.case !== 'azure') throw new EvidenceError('platform', 'evidence of Azure without an HCL report');
  const azure = hardware.value;
  if (`azure-${azure.silicon.case}` !== statement.platform) {
    throw new EvidenceError('platform', `${statement.platform} with a processor of ${azure.silicon.case ?? 'no kind'}`);
  }
  const { silicon, runtime, quote } = await verifyParavisor(azure, signed, anchors, context);
  const vtpm = registersBehind(quote, azure.vtpm, runtime.attestationKey, statement);
  const words = describeSilicon(silicon, anchors);
  return {
    hardware: { kind: 'azure', silicon, runtime, vtpm },
    checks: [
      passed('quote.signature', `${words.signed}; registers 0 to 15 by the paravisor's vTPM`),
      passed('quote.key', `${vtpm.attestationKey} named by the paravisor, and that by the report, under ${words.root}`),
      passed('quote.statement', 'the quote covers the boot statement: its keys, log, policy and bundle'),
    ],
  };
}

async function verifyParavisor(
  { hclReport, vtpm, silicon }: AzureEvidence,
  signed: Signed,
  anchors: Anchors,
  context: Context,
): Promise<Pick<AzureAuthenticated, 'silicon' | 'runtime'> & { quote: AuthenticatedQuote }> {
  const shared = { hclReport, vtpm: expectedQuote(vtpm, signed) };
  if (silicon.case === 'snp') {
    const evidence = { ...snpCollateral(silicon.value), ...shared };
    const { hardware: snp, ...rest } = await verifyAzureSnp(evidence, siliconPins('amd', anchors), context);
    return { silicon: { kind: 'snp', snp }, ...rest };
  }
  if (silicon.case !== 'tdx') throw new EvidenceError('platform', 'evidence of Azure without a processor');
  requireBlank(hclReport);
  const { quote: tdQuote, collateral } = quotedTd(silicon.value);
  const evidence = { tdQuote, collateral, ...shared };
  const { hardware: tdx, ...rest } = await verifyAzureTdx(evidence, siliconPins('intel', anchors), context);
  return { silicon: { kind: 'tdx', tdx }, ...rest };
}

/**
 * Refuses an HCL report whose TDREPORT is not blanked.
 *
 * **Trust**: outside of its machine no verifier can check a TDREPORT. Without this, an auditor
 * could take its words for a statement of the hardware.
 */
function requireBlank(hclReport: Uint8Array): void {
  const { hardwareReport } = parsePart('format', 'HCL report', hclReport, parseHclReport);
  if (hardwareReport.some((byte) => byte !== 0)) throw new EvidenceError('format', 'the TDREPORT is not blanked');
}
