/** Random bytes in small pieces: one draw from the system serves many calls. */

import { randomFillSync } from 'node:crypto';
import { toHex } from '@enclaim/attestation/bytes';

const POOL = new Uint8Array(4096);
let used: number = POOL.length;

/** `length` bytes (at most 4096) that nobody has seen; the pool keeps no copy of them. */
export function freshBytes(length: number): Uint8Array {
  if (used + length > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  const bytes = POOL.slice(used, used + length);
  POOL.fill(0, used, used + length);
  used += length;
  return bytes;
}

/** The same as hex digits. */
export function freshHex(length: number): string {
  return toHex(freshBytes(length));
}
