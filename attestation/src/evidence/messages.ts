/**
 * Messages that evidence and receipts travel in, for the code that writes them. This module imports
 * no verifier.
 */

export { type Evidence, EvidenceSchema, type Receipt, ReceiptSchema } from '../gen/enclaim/v1/evidence_pb.js';
export type { Platform } from '../statement.ts';
