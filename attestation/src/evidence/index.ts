/** Evidence: its message, the proof of who made it, and what that proof yields. */

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
export { MAX_EVIDENCE_BYTES, policyOfEvidence, verifyEvidence } from './verify.ts';
