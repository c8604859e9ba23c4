/** The messages that evidence and receipts travel in, for those who write them: no verifier comes along. */

export { type Evidence, EvidenceSchema, type Receipt, ReceiptSchema } from '../gen/enclaim/v1/evidence_pb.js';
export type { Platform } from '../statement.ts';
