/** Verification with nothing parsed before, and again with every part at hand. */

import assert from 'node:assert/strict';
import { forgetParsed } from '../../attestation/src/parse-once.ts';

/** What `verify` ends in, which must be the same both times: a value, or an error with its message. */
export async function coldAndWarm<T>(verify: () => Promise<T>): Promise<T> {
  forgetParsed();
  const cold = await ending(verify);
  const warm = await ending(verify);
  assert.deepEqual(warm, cold, 'what was parsed before changes the outcome');
  if ('error' in warm) throw warm.error;
  return warm.value;
}

async function ending<T>(verify: () => Promise<T>): Promise<{ readonly value: T } | { readonly error: unknown }> {
  try {
    return { value: await verify() };
  } catch (error) {
    return { error };
  }
}
