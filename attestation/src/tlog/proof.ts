/**
 * Proofs as files (C2SP tlog-proof): an index, an inclusion path and the checkpoint that it leads
 * to.
 */

import { equalBytes, fromBase64, toBase64, toHex } from '../bytes.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { leafHash, rootFromPath } from '../merkle.ts';
import { type Checkpoint, parseCheckpoint, parseSize } from './checkpoint.ts';
import { type NoteKey, type VerifiedSignature, verifyNote } from './note.ts';

const HEADER = 'c2sp.org/tlog-proof@v1';
const MAX_PROOF = 1 << 20;
const MAX_PATH = 63;

/** A proof as parsed. */
export interface LogProof {
  /** Opaque bytes for the reader of the entry. */
  readonly extra?: Uint8Array;
  readonly index: number;
  readonly path: readonly Uint8Array[];
  /** The signed note, whole. */
  readonly checkpoint: string;
}

/** An entry that is in a log, at a size that trusted keys signed. */
export interface VerifiedEntry {
  readonly index: number;
  readonly checkpoint: Checkpoint;
  readonly signatures: readonly VerifiedSignature[];
}

/** Reads a proof of at most 1 MiB. @throws DecodeError `syntax`, `range`, `version` */
export function parseLogProof(text: string): LogProof {
  if (text.length > MAX_PROOF) throw new DecodeError('range', `proof of ${text.length} characters`, 0);
  const end = text.indexOf('\n\n');
  if (end < 0) throw new DecodeError('syntax', 'proof without a checkpoint', 0);
  const lines = text.slice(0, end).split('\n');
  if (lines.shift() !== HEADER) throw new DecodeError('version', `proof does not start with ${HEADER}`, 0);
  const extra = lines[0]?.startsWith('extra ') ? fromBase64((lines.shift() ?? '').slice('extra '.length)) : undefined;
  const [indexLine = '', ...hashes] = lines;
  if (!indexLine.startsWith('index ')) throw new DecodeError('syntax', 'proof without an index', 0);
  if (hashes.length > MAX_PATH) throw new DecodeError('range', `path of ${hashes.length} hashes`, 0);
  const path = hashes.map(fromBase64);
  for (const { length } of path) if (length !== 32) throw new DecodeError('range', `hash of ${length} bytes`, 0);
  const index = parseSize(indexLine.slice('index '.length));
  return { ...(extra && { extra }), index, path, checkpoint: text.slice(end + 2) };
}

/** The text of a proof. */
export function formatLogProof({ extra, index, path, checkpoint }: LogProof): string {
  const extraLine = extra === undefined ? [] : [`extra ${toBase64(extra)}`];
  return [HEADER, ...extraLine, `index ${index}`, ...path.map(toBase64), '', checkpoint].join('\n');
}

/**
 * Shows that `entry` is in the log that `keys` sign for.
 * @throws DecodeError; EvidenceError as `verifyNote`, and `log` if the path does not lead to the
 * root.
 */
export async function verifyLogProof(
  text: string,
  entry: Uint8Array,
  keys: readonly NoteKey[],
): Promise<VerifiedEntry> {
  const proof = parseLogProof(text);
  const note = await verifyNote(proof.checkpoint, keys);
  const checkpoint = parseCheckpoint(note.text);
  const root = rootFromPath(leafHash(entry), proof.index, checkpoint.size, proof.path);
  if (root === undefined || !equalBytes(root, checkpoint.root)) {
    const found = root === undefined ? 'no root' : toHex(root);
    throw new EvidenceError('log', `path leads to ${found}, the checkpoint's root is ${toHex(checkpoint.root)}`);
  }
  return { index: proof.index, checkpoint, signatures: note.verified };
}
