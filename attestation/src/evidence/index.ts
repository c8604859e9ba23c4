/** Evidence: its message, the proof of its maker, and the result of that proof. */

export {
  type Evidence,
  EvidenceSchema,
  type GcpEvidence,
  type QuotedTd,
  ReceiptSchema,
  type SnpCollateral,
  SnpCollateralSchema,
  TdxCollateralSchema,
} from '../gen/enclaim/v1/evidence_pb.js';
export type { Platform } from '../statement.ts';
export type { ActivationProof, Authenticated, Context } from './authenticated.ts';
export { isCertified } from './tpm.ts';
export { MAX_EVIDENCE_BYTES, policyOfEvidence, statementOfEvidence, verifyEvidence } from './verify.ts';
