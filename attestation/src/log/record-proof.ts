/**
 * Proofs of records: from a record's hash to a root that the boot's log key and its hardware signed
 * (docs/reference/formats.md, "Proof of a record").
 */

import { toBinary } from '@bufbuild/protobuf';
import { equalBytes, fromBase64Url, toHex } from '../bytes.ts';
import { type DigestText, digestText, parseDigest } from '../digest.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import type { Authenticated } from '../evidence/authenticated.ts';
import { MAX_EVIDENCE_BYTES, verifyEvidence } from '../evidence/verify.ts';
import { EvidenceSchema, type LogProof, LogProofSchema } from '../gen/enclaim/v1/evidence_pb.js';
import { rootFromPath } from '../merkle.ts';
import { decodeMessage } from '../message.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import type { ReceiptBody } from '../receipt.ts';
import type { Anchors } from '../references/references.ts';
import type { BootStatement, CurrentBootStatement } from '../statement.ts';
import { decodeStatement } from '../statement.ts';
import { type Checkpoint, noteKey, parseCheckpoint, verifyNote } from '../tlog/index.ts';

/** Hashes in a path to the largest tree whose size is exact. */
const MAX_PATH = 53;
/** Bytes of a proof without its evidence: index, path, note of 100 signatures at most. */
const MAX_WAY_BYTES = 64 * 1024;
/** Largest proof in bytes. */
export const MAX_PROOF_BYTES: number = MAX_EVIDENCE_BYTES + MAX_WAY_BYTES;

/** A record as its receipt names it: index of its leaf, and its hash, which is the leaf's hash. */
export interface NamedRecord {
  readonly index: number;
  readonly record: DigestText<'sha256'>;
}

/** A tree of the log of one boot, which the boot's hardware signed. */
export interface QuotedTree {
  /** The boot that wrote the records from `statement.log.size` on; `appraise` judges it. */
  readonly authenticated: Authenticated;
  readonly checkpoint: Checkpoint;
  /** The `enclaim.v1.Evidence` message in the proof. */
  readonly evidence: Uint8Array;
  /** The signed note, whole: witnesses may have signed it, too. */
  readonly note: string;
  /** Index, size and path length of the checkpoint's leaf in the batch of the quote. */
  readonly batch: { readonly index: number; readonly size: number; readonly pathLength: number };
}

/** A record that is in the log of one boot, below a checkpoint that the boot's hardware signed. */
export interface ProvenRecord extends NamedRecord, QuotedTree {
  /** Hashes between the record and the checkpoint's root. */
  readonly pathLength: number;
}

/** The record that a receipt names; null for one that does not say where it is. */
export function recordOf(body: ReceiptBody): NamedRecord | null {
  return 'index' in body && typeof body.index === 'number' ? { index: body.index, record: body.record } : null;
}

/** Reads a proof. **Trust**: nothing in it is authentic yet. @throws EvidenceError `format` */
export function parseRecordProof(bytes: Uint8Array): LogProof {
  return parsePart('format', 'proof', bytes, (all) => decodeMessage(LogProofSchema, all, MAX_PROOF_BYTES));
}

/** Bytes of a proof. */
export function encodeRecordProof(proof: LogProof): Uint8Array {
  return toBinary(LogProofSchema, proof);
}

/**
 * The `enclaim.v1.Evidence` message in a proof. **Trust**: nothing in it is authentic yet.
 * @throws EvidenceError `format`
 */
export function evidenceOfProof(bytes: Uint8Array): Uint8Array {
  const { evidence } = parseRecordProof(bytes);
  if (evidence === undefined) throw new EvidenceError('format', 'proof without evidence');
  return toBinary(EvidenceSchema, evidence);
}

/** The boot that a proof names. **Trust**: nothing of it is authentic yet. @throws EvidenceError */
export function statementOfProof({ evidence }: LogProof): BootStatement {
  if (evidence === undefined) throw new EvidenceError('format', 'proof without evidence');
  return parsePart('format', 'boot statement', evidence.statement, decodeStatement);
}

/**
 * Verifies that a record is in the log of the boot whose evidence the proof holds.
 *
 * **Trust**: the disk is the host's, and a boot takes over the tree that it finds there. So a boot
 * vouches only for records that it wrote itself, from `statement.log.size` on.
 *
 * @param bytes an `enclaim.v1.LogProof` message
 * @param record index and hash, from an authentic receipt
 * @throws EvidenceError `format`, `binding` (checkpoint, record, log key and boot do not belong
 * together), `signature` (the note), `log` (the path does not lead from the record to the root),
 * and those of `verifyEvidence`
 */
export async function verifyRecordProof(
  bytes: Uint8Array,
  record: NamedRecord,
  anchors: Anchors,
  moment: Pick<Moment, 'now'>,
): Promise<ProvenRecord> {
  const proof = parseRecordProof(bytes);
  const statement = currentStatement(proof);
  const signed = await signedCheckpoint(proof, statement);
  const pathLength = followPath(proof, record, signed.checkpoint, statement);
  return { ...record, ...(await underQuote(proof, signed, anchors, moment)), pathLength };
}

/**
 * Verifies a checkpoint under the quote of its boot, whatever record it was asked for.
 *
 * @param bytes an `enclaim.v1.LogProof` message
 * @throws as {@link verifyRecordProof}, but for what concerns a record
 */
export async function verifyQuotedTree(
  bytes: Uint8Array,
  anchors: Anchors,
  moment: Pick<Moment, 'now'>,
): Promise<QuotedTree> {
  const proof = parseRecordProof(bytes);
  return underQuote(proof, await signedCheckpoint(proof, currentStatement(proof)), anchors, moment);
}

/** @throws EvidenceError `binding` for a statement without a log key */
function currentStatement(proof: LogProof): CurrentBootStatement {
  const statement = statementOfProof(proof);
  if (statement.version === 3) return statement;
  throw new EvidenceError('binding', `the boot states version ${statement.version}, and no key of its log`);
}

async function underQuote(
  { evidence, checkpoint: note }: LogProof,
  { text, checkpoint }: { readonly text: string; readonly checkpoint: Checkpoint },
  anchors: Anchors,
  { now }: Pick<Moment, 'now'>,
): Promise<QuotedTree> {
  const { leaf } = evidence ?? {};
  if (evidence === undefined || leaf === undefined) throw new EvidenceError('format', 'proof without a leaf');
  const bytes = toBinary(EvidenceSchema, evidence);
  const authenticated = await verifyEvidence(bytes, anchors, { now, channel: { checkpoint: text }, activation: null });
  const batch = { index: leaf.index, size: leaf.size, pathLength: leaf.path.length };
  return { authenticated, checkpoint, evidence: bytes, note, batch };
}

/** The checkpoint of a proof, signed by the log key of the statement, under its origin. */
async function signedCheckpoint(
  { checkpoint: note }: LogProof,
  { keys, log }: CurrentBootStatement,
): Promise<{ readonly text: string; readonly checkpoint: Checkpoint }> {
  const raw = parsePart('format', 'log key', keys.log.slice('ed25519:'.length), fromBase64Url);
  const key = noteKey(log.origin, 'ed25519', raw);
  try {
    const { text } = await verifyNote(note, [key]);
    const checkpoint = parseCheckpoint(text);
    if (checkpoint.origin !== log.origin) {
      throw new EvidenceError('binding', `checkpoint of ${checkpoint.origin}, the boot's log is ${log.origin}`);
    }
    if (checkpoint.extensions.length > 0) throw new EvidenceError('format', 'checkpoint with extension lines');
    return { text, checkpoint };
  } catch (cause) {
    if (cause instanceof DecodeError)
      throw new EvidenceError('format', `checkpoint does not parse: ${cause.message}`, { cause });
    if (cause instanceof EvidenceError && cause.code === 'chain')
      throw new EvidenceError('signature', `the checkpoint is not signed by the log key of ${log.origin}`, { cause });
    throw cause;
  }
}

/** Follows the path from the record to the checkpoint's root. @returns its length */
function followPath(
  { index: named, path }: LogProof,
  { index, record }: NamedRecord,
  { size, root }: Checkpoint,
  { log }: CurrentBootStatement,
): number {
  // layer: index of the record
  if (named !== BigInt(index)) throw new EvidenceError('binding', `proof of record ${named}, expected ${index}`);
  // layer: start of the boot
  if (index < log.size) {
    throw new EvidenceError('binding', `record ${index} was there before this boot, which began at ${log.size}`);
  }
  if (index >= size) throw new EvidenceError('binding', `record ${index} is not below the checkpoint, of ${size}`);
  if (path.length > MAX_PATH) throw new EvidenceError('log', `a path of ${path.length} hashes`);
  const leaf = parsePart('format', 'record', record, (text) => parseDigest('sha256', text));
  const found = rootFromPath(leaf, index, size, path);
  if (found === undefined) {
    throw new EvidenceError('log', `a path of ${path.length} hashes from record ${index} of ${size}`);
  }
  // layer: root of the checkpoint
  if (!equalBytes(found, root)) {
    const [is, expected] = [digestText('sha256', found), toHex(root)];
    throw new EvidenceError('log', `the record leads to ${is}, the checkpoint's root is ${expected}`);
  }
  return path.length;
}
