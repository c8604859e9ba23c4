/**
 * Bytes of a row, as memory and slots have them: u16 length of its name ‖ u8 length of its body ‖
 * name ‖ body. A body begins with the instant at which the row next changes by itself: 6 bytes.
 */

import { RefusalError } from '../../errors.ts';

/** A row where it lies: it stays there until the next change of any row. */
export interface RowAt {
  readonly bytes: Buffer;
  /** Offsets of its name, of its body, and behind it. */
  readonly name: number;
  readonly body: number;
  readonly end: number;
}

/** Stands for an instant that never comes. */
export const NEVER: number = 2 ** 48 - 1;
export const DUE_BYTES = 6;
/** Bytes of a row beside its name and body. */
export const ROW_PREFIX_BYTES = 3;
/** Bytes of a row, at most. */
export const MAX_ROW_BYTES = 1024;

/**
 * The row that begins at an offset.
 *
 * @throws RefusalError `state` if it goes beyond the bytes, or is larger than any
 */
export function rowAt(bytes: Buffer, at: number): RowAt {
  const end = rowEnd(bytes, at);
  return { bytes, name: at + ROW_PREFIX_BYTES, body: bodyAt(bytes, at), end };
}

/**
 * Where the row that begins at an offset ends.
 *
 * **Cost**: an index is loaded by these numbers alone, without an object for each row.
 *
 * @throws RefusalError as {@link rowAt}
 */
export function rowEnd(bytes: Uint8Array, at: number): number {
  const body = bodyAt(bytes, at);
  const end = body + (bytes[at + 2] as number);
  // Lengths beyond the bytes are no numbers, and fail here too.
  if (!(end <= bytes.length && end - body >= DUE_BYTES && end - at <= MAX_ROW_BYTES))
    throw new RefusalError('state', 'bytes of an index that are no row');
  return end;
}

/** Where the body of the row that begins at an offset begins. */
export function bodyAt(bytes: Uint8Array, at: number): number {
  return at + ROW_PREFIX_BYTES + nameLength(bytes, at);
}

export function nameLength(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** When the row of a body next changes by itself. */
export function dueAt(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  const middle = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
  const low = ((bytes[at + 4] as number) << 8) | (bytes[at + 5] as number);
  return high * 2 ** 32 + middle * 2 ** 16 + low;
}

/** Compares a name with that of a row. */
export function compareName(name: Uint8Array, bytes: Uint8Array, at: number): number {
  return compare(name, 0, name.length, bytes, at + ROW_PREFIX_BYTES, nameLength(bytes, at));
}

/** Compares the rows that begin at two offsets by their names. */
export function compareRows(one: Uint8Array, at: number, other: Uint8Array, otherAt: number): number {
  const [length, most] = [nameLength(one, at), nameLength(other, otherAt)];
  return compare(one, at + ROW_PREFIX_BYTES, length, other, otherAt + ROW_PREFIX_BYTES, most);
}

function compare(one: Uint8Array, from: number, length: number, other: Uint8Array, at: number, most: number): number {
  const both = Math.min(length, most);
  for (let i = 0; i < both; i++) {
    const by = (one[from + i] as number) - (other[at + i] as number);
    if (by !== 0) return by;
  }
  return length - most;
}
