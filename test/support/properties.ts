/**
 * fast-check, with one seed for all properties of a process. A process of tests that fails says which, also where it
 * failed by what its properties counted: `ENCLAIM_TEST_SEED` draws the same programs again.
 */

import { randomInt } from 'node:crypto';
import fc from 'fast-check';

/** fast-check takes seeds of 32 bits. */
const SEED_BITS = 32;

/** The seed of this process, for properties that draw by other means. */
export const seed: number = seedOf(process.env.ENCLAIM_TEST_SEED);
fc.configureGlobal({ seed });
process.once('exit', (status) => {
  if (status !== 0) console.error(`properties were drawn by ENCLAIM_TEST_SEED=${seed}`);
});

function seedOf(given: string | undefined): number {
  if (given === undefined) return randomInt(2 ** (SEED_BITS - 1));
  if (!/^-?\d{1,10}$/.test(given))
    throw new Error(`ENCLAIM_TEST_SEED is a whole number of ${SEED_BITS} bits, not ${given}`);
  return Number(given);
}

export { fc };
