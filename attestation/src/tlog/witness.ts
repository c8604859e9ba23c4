/** Bodies of C2SP tlog-witness: what a log sends to a witness, and what a witness answers. */

import { fromBase64, toBase64, toHex, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { parseSize } from './checkpoint.ts';

/**
 * Longest body of add-checkpoint, in bytes: a full proof, and a checkpoint with more than sixteen
 * signatures of ML-DSA-44.
 */
export const MAX_ADD_CHECKPOINT_BYTES: number = 128 * 1024;
/** Most hashes of a consistency proof (C2SP tlog-witness). */
export const MAX_CONSISTENCY_HASHES = 63;
/** Type of the answer 409, whose body is the size that the witness has cosigned. */
export const WITNESSED_SIZE_TYPE = 'text/x.tlog.size';
const HASH_LENGTH = 32;

/** A checkpoint for a witness, with the proof that it continues the one of size `old`. */
export interface AddCheckpoint {
  /** Size of the last checkpoint that the witness cosigned, or 0. */
  readonly old: number;
  /** From `old` to the size of the checkpoint; empty if `old` is 0. */
  readonly proof: readonly Uint8Array[];
  /** The signed note. */
  readonly note: string;
}

/** The body of a request. */
export function formatAddCheckpoint({ old, proof, note }: AddCheckpoint): string {
  return [`old ${old}`, ...proof.map(toBase64), '', note].join('\n');
}

/**
 * Reads the body of a request. Whether the note is a checkpoint, and signed, it does not judge.
 * @throws DecodeError `syntax`, `range`
 */
export function parseAddCheckpoint(body: string): AddCheckpoint {
  if (body.length > MAX_ADD_CHECKPOINT_BYTES) throw new DecodeError('range', `body of ${body.length} characters`, 0);
  const end = body.indexOf('\n\n');
  if (end < 0) throw new DecodeError('syntax', 'no empty line before the checkpoint', 0);
  const [oldLine = '', ...hashes] = body.slice(0, end).split('\n');
  if (!oldLine.startsWith('old ')) throw new DecodeError('syntax', 'no old size', 0);
  if (hashes.length > MAX_CONSISTENCY_HASHES) throw new DecodeError('range', `proof of ${hashes.length} hashes`, 0);
  const proof = hashes.map(fromBase64);
  for (const { length } of proof)
    if (length !== HASH_LENGTH) throw new DecodeError('range', `hash of ${length} bytes`, 0);
  return { old: parseSize(oldLine.slice('old '.length)), proof, note: body.slice(end + 2) };
}

/** The size of an answer 409: decimal and a newline. @throws DecodeError `syntax`, `range` */
export function parseWitnessedSize(body: string): number {
  if (!body.endsWith('\n')) throw new DecodeError('syntax', 'size without a newline', body.length);
  return parseSize(body.slice(0, -1));
}

/** Where a witness shows the last checkpoint that it cosigned of a log, below its prefix. */
export function witnessedPath(origin: string): string {
  return `${toHex(sha256(utf8(origin)))}/checkpoint`;
}
