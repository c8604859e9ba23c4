/** Azure confidential VMs: HCL reports and the vTPM that they vouch for. */

export { checkRuntimeBinding, type HclReport, parseHclReport, type RuntimeData, readRuntimeData } from './hcl.ts';
export {
  type AuthenticatedAzure,
  type AzureSnpEvidence,
  type AzureTdxEvidence,
  type VtpmQuote,
  verifyAzureSnp,
  verifyAzureTdx,
} from './verify.ts';
