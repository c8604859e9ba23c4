/**
 * GUIDs: as UEFI writes them, with the first three groups little-endian, and as RFC 9562 does, all
 * big-endian.
 */

import { fromHex, toHex } from './bytes.ts';
import { DecodeError } from './errors.ts';

/** Length in bytes. */
export const GUID_LENGTH = 16;
/** Place in the bytes of each byte of the text. */
const ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15] as const;

/**
 * The text of 16 bytes in UEFI's order, lower case.
 * @throws DecodeError `range` for another length.
 */
export function formatGuid(bytes: Uint8Array): string {
  return formatUuid(permute(bytes));
}

/**
 * The text of 16 bytes in RFC 9562's order, lower case.
 * @throws DecodeError `range` for another length.
 */
export function formatUuid(bytes: Uint8Array): string {
  if (bytes.length !== GUID_LENGTH) throw new DecodeError('range', `GUID of ${bytes.length} bytes`, 0);
  const hex = toHex(bytes);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

/** The bytes in UEFI's order of a text as `formatGuid` writes it. @throws DecodeError `syntax` */
export function parseGuid(text: string): Uint8Array {
  if (!/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw new DecodeError('syntax', 'not a GUID', 0);
  return permute(fromHex(text.replaceAll('-', '')));
}

/** Swapping the groups is its own inverse. */
function permute(bytes: Uint8Array): Uint8Array {
  return bytes.length === GUID_LENGTH ? Uint8Array.from(ORDER, (at) => bytes[at] ?? 0) : bytes;
}
