/**
 * The Log service as both of its sides know it: messages, and how a reader proves its key
 * (attestation/proto/enclaim/v1/log.proto).
 */

import { concat } from '../bytes.ts';
import { labelBytes } from '../labels.ts';

export { type LogProof, LogProofSchema } from '../gen/enclaim/v1/evidence_pb.js';
export {
  AddCosignaturesRequestSchema,
  AddCosignaturesResponseSchema,
  GetCheckpointRequestSchema,
  GetCheckpointResponseSchema,
  GetEntriesRequestSchema,
  GetEntriesResponseSchema,
  GetProofRequestSchema,
  GetQuoteRequestSchema,
  GetTileRequestSchema,
  GetTileResponseSchema,
  Log,
  WatchRequestSchema,
  WatchResponseSchema,
} from '../gen/enclaim/v1/log_pb.js';

/** Metadata in which a reader proves its key: raw Ed25519 key, then signature. */
export const READER_METADATA = 'enclaim-reader-bin';
export const READER_KEY_BYTES = 32;
export const READER_PROOF_BYTES = 96;
/** Entries that one request may ask for. */
export const MAX_ENTRIES_REQUESTED = 256;

/**
 * The bytes that a reader signs, of one connection of one boot.
 *
 * Without exporter and boot, a server that a reader once read from could present the reader's
 * signature to another.
 */
export function readerMessage(exporter: Uint8Array, boot: Uint8Array): Uint8Array {
  return concat(labelBytes('reader'), exporter, boot);
}
