/** Random bytes in small pieces: one draw from the system serves many calls. */

import { randomFillSync } from 'node:crypto';
import { toHex } from '@enclaim/attestation/bytes';

const POOL = new Uint8Array(4096);
let used: number = POOL.length;

/** Returns `length` fresh bytes (at most 4096), drawn once. The pool keeps no copy of them. */
export function freshBytes(length: number): Uint8Array {
  return drawn(length, (bytes) => bytes.slice());
}

/** The same as hex digits. */
export function freshHex(length: number): string {
  return drawn(length, toHex);
}

function drawn<T>(length: number, taken: (bytes: Uint8Array) => T): T {
  if (used + length > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  const bytes = POOL.subarray(used, used + length);
  used += length;
  const copy = taken(bytes);
  bytes.fill(0);
  return copy;
}
