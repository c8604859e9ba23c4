/**
 * Checkpoints (C2SP tlog-checkpoint): a log's origin, size and root, as the text of a signed note.
 */

import { equalBytes, fromBase64, toBase64 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';

/** A checkpoint's body. */
export interface Checkpoint {
  readonly origin: string;
  /** Number of leaves. */
  readonly size: number;
  /** Root of the RFC 6962 tree, 32 bytes. */
  readonly root: Uint8Array;
  /** Further lines, opaque; usually none. */
  readonly extensions: readonly string[];
}

/**
 * Reads a checkpoint's text: origin, size without leading zeros, and 32 bytes of root in base64,
 * then lines that are not empty.
 * @throws DecodeError `syntax`; `range` for a size above 2⁵³ − 1; `canonical` for an empty tree
 * with another root.
 */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split('\n');
  if (lines.pop() !== '') throw new DecodeError('syntax', 'checkpoint does not end in a newline', text.length);
  const [origin = '', sizeText = '', rootText = '', ...extensions] = lines;
  if (origin === '' || extensions.includes('') || text.includes('\r')) {
    throw new DecodeError('syntax', 'empty line or carriage return in a checkpoint', 0);
  }
  const size = parseSize(sizeText);
  const root = fromBase64(rootText);
  if (root.length !== 32) throw new DecodeError('syntax', `root of ${root.length} bytes`, 0);
  // RFC 6962, 2.1: there is one empty tree, and its hash is that of nothing (C2SP tlog-checkpoint).
  if (size === 0 && !equalBytes(root, sha256(new Uint8Array()))) {
    throw new DecodeError('canonical', 'a root that is not of the empty tree', 0);
  }
  return { origin, size, root, extensions };
}

/** The text of a checkpoint, without signatures. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  return `${[origin, size, toBase64(root), ...extensions].join('\n')}\n`;
}

/** A decimal number of leaves or an index. @throws DecodeError `syntax`, `range` */
export function parseSize(text: string): number {
  if (!/^(?:0|[1-9][0-9]*)$/.test(text)) throw new DecodeError('syntax', 'not a decimal number', 0);
  const size = Number(text);
  if (!Number.isSafeInteger(size)) throw new DecodeError('range', `${text} is above 2^53 - 1`, 0);
  return size;
}
