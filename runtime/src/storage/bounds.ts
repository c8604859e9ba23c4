/** Bounds of what calls store, wherever it is kept. */

import { RefusalError } from '../errors.ts';

/**
 * Bytes that one call may store, {@link PLACE_BYTES} of each change included. It takes 32 calls to
 * use up an identity's room.
 */
export const MAX_BYTES_PER_CALL: number = 512 * 1024;
/** Bytes of a value as JSON, in which numbers may be longer than they were written. */
const MAX_VALUE_BYTES = 256 * 1024;
/** Bytes counted for a place beside its key and value: at least what it takes in memory. */
const PLACE_BYTES = 768;
const MAX_KEY_CHARS = 256;
/** Random bytes of a version: no two values of one place have the same. */
export const VERSION_BYTES = 8;

/**
 * Bytes that may be held, in all and by one identity.
 *
 * **Bound**: without the second, one identity could fill a collection alone.
 */
export interface Room {
  readonly collection: number;
  readonly identity: number;
}

/** The room of a collection. */
export const ROOM: Room = { collection: 64 * 1024 * 1024, identity: 16 * 1024 * 1024 };

/** Whether something can be stored under a key. */
export function isKey(key: string): boolean {
  return key.length > 0 && key.length <= MAX_KEY_CHARS;
}

/** Bytes counted for a place. A key takes two bytes a character if one of them is not Latin-1. */
export function placeBytes(key: string, length = 0): number {
  return PLACE_BYTES + 2 * key.length + length;
}

/** @throws RefusalError `grant` */
export function refuseKey(key: string): void {
  if (!isKey(key)) throw new RefusalError('grant', `a key of ${key.length} characters`);
}

/**
 * Bytes of a value.
 *
 * @throws RefusalError `budget` if they are too many
 */
export function valueBytes(text: string): number {
  const length = Buffer.byteLength(text);
  if (length > MAX_VALUE_BYTES) throw new RefusalError('budget', `a value of more than ${MAX_VALUE_BYTES} bytes`);
  return length;
}

/**
 * The refusal of a change whose condition does not hold.
 *
 * **Leak**: it ends the call, and is the same whether another call was there before or while this
 * one ran. A handler that could go on would learn one such bit after another.
 */
export function conflictIn(collection: string): RefusalError {
  const message = `a record of ${collection} has another version`;
  return new RefusalError('conflict', message, /* layer: conflicts end the call (off: undefined) */ { final: true });
}
