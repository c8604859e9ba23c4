/**
 * SEV-SNP: reports, the keys that sign them, the certificates of these keys, and demands of a
 * verifier.
 */

export { appraiseSnp, SNP_CAREFUL, type SnpDemands } from './appraise.ts';
export { type CertificateEntry, parseCertificateTable } from './certificate-table.ts';
export { type EndorsementKey, readEndorsementKey } from './endorsement-key.ts';
export { type CpuId, cpuidEax, productOf, type SnpProduct, type TcbVersion, tcbVersion } from './product.ts';
export { parseReport, REPORT_LENGTH, type SnpReport } from './report.ts';
export { type AuthenticatedSnp, type SnpEvidence, verifySnp } from './verify.ts';
