/** A demand compared with a found value: one check of a verdict. */

import { equalBytes, toHex } from '../bytes.ts';
import type { Check } from './verdict.ts';

/** Values of which one must be found, or no constraint. */
export type OneOf = readonly Uint8Array[] | 'any';

/**
 * A check of one demand. `"any"` yields one that was not run and is not required; nothing else
 * does.
 * @param found What was found, for people.
 */
export function checkDemand<T>(id: string, demand: T | 'any', found: string, holds: (demand: T) => boolean): Check {
  if (demand === 'any') return { id, outcome: 'not run', required: false, detail: `any is accepted: ${found}` };
  const passed = holds(demand as T);
  const detail = passed ? found : `${found}, expected ${inWords(demand)}`;
  return { id, outcome: passed ? 'passed' : 'failed', required: true, detail };
}

/** A check that a value is one of those accepted. */
export function checkOneOf(id: string, found: Uint8Array, accepted: OneOf): Check {
  return checkDemand(id, accepted, toHex(found), (list) => list.some((one) => equalBytes(one, found)));
}

/** A check that a value is the one demanded. */
export function checkEqual(id: string, found: Uint8Array, expected: Uint8Array | 'any'): Check {
  return checkOneOf(id, found, expected === 'any' ? expected : [expected]);
}

function inWords(demand: unknown): string {
  return JSON.stringify(demand, (_key, value) => {
    if (value instanceof Uint8Array) return toHex(value);
    return typeof value === 'bigint' ? `0x${value.toString(16)}` : value;
  });
}
