/** Evidence: its message, the proof of who made it, and what that proof yields. */

export { type Evidence, EvidenceSchema, ReceiptSchema, TdxCollateralSchema } from '../gen/enclaim/v1/evidence_pb.js';
export type { Platform } from '../statement.ts';
export type { ActivationProof, Authenticated, Context } from './authenticated.ts';
export { EVIDENCE_LIMIT, verifyEvidence } from './verify.ts';
