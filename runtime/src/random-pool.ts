/** Random bytes in small pieces: one draw from the system serves many calls. */

import { randomFillSync } from 'node:crypto';

const POOL = Buffer.alloc(4096);
let used: number = POOL.length;

/** Returns `length` fresh bytes (at most 4096), drawn once. The pool keeps no copy of them. */
export function freshBytes(length: number): Uint8Array {
  const from = draw(length);
  const bytes = Uint8Array.prototype.slice.call(POOL, from, used);
  POOL.fill(0, from, used);
  return bytes;
}

/** The same as hex digits. */
export function freshHex(length: number): string {
  const from = draw(length);
  const digits = POOL.toString('hex', from, used);
  POOL.fill(0, from, used);
  return digits;
}

/** Uses `length` bytes of the pool, from the position returned. */
function draw(length: number): number {
  if (used + length > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  used += length;
  return used - length;
}
