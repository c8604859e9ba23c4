/** The text of a status as gRPC's trailers carry it. */

import { utf8 } from './bytes.ts';

/** Printable ASCII without the percent sign, and no space at either end. */
const PLAIN = /^(?! )[\x20-\x24\x26-\x7e]*(?<! )$/;

/**
 * `grpc-message` (gRPC over HTTP/2, Percent-Encoded): UTF-8, in which every byte but printable
 * ASCII, and the percent sign, is escaped. A space at either end is escaped too, because HTTP/2 has
 * none there and Node drops a field that has one.
 */
export function percentEncoded(text: string): string {
  if (PLAIN.test(text)) return text;
  let encoded = '';
  for (const byte of utf8(text.toWellFormed())) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded.replace(/^ | $/g, '%20');
}
