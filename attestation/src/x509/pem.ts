/** PEM (RFC 7468): certificates and CRLs as text. */

import { fromBase64 } from '../bytes.ts';
import { DecodeError } from '../errors.ts';

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n([A-Za-z0-9+/=\r\n]*)-----END ([A-Z0-9 ]{1,40})-----(?:\r?\n|$)/y;
const MAX_LENGTH = 1 << 22;

/** A block of a PEM text. */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
}

/**
 * The DER contents of each block of a PEM text, in order. Nothing but white space may stand around
 * the blocks.
 * @param label The only label allowed, such as `CERTIFICATE`.
 * @param limit Number of blocks allowed.
 * @throws DecodeError `syntax`; `range` if there are more blocks, or more than 4 MiB of text.
 */
export function parsePem(text: string, label: string, limit = 16): Uint8Array[] {
  return parsePemBlocks(text, [label], limit).map(({ der }) => der);
}

/** The same of a text whose blocks may have several labels. @throws as {@link parsePem} */
export function parsePemBlocks(text: string, labels: readonly string[], limit = 16): PemBlock[] {
  if (text.length > MAX_LENGTH) throw new DecodeError('range', `PEM text of ${text.length} characters`, 0);
  const blocks: PemBlock[] = [];
  let at = skipSpace(text, 0);
  while (at < text.length) {
    if (blocks.length === limit) throw new DecodeError('range', `more than ${limit} PEM blocks`, at);
    BLOCK.lastIndex = at;
    const match = BLOCK.exec(text);
    const [, label, content = '', end] = match ?? [];
    if (label === undefined || label !== end || !labels.includes(label)) {
      throw new DecodeError('syntax', `not a PEM block of ${labels.join(' or ')}`, at);
    }
    blocks.push({ label, der: fromBase64(content.replace(/[\r\n]/g, '')) });
    at = skipSpace(text, BLOCK.lastIndex);
  }
  return blocks;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\r\n'.includes(text.charAt(at))) at++;
  return at;
}
