/** The layer that refused, held against the layer that a manifest names in its own words. */

import { DecodeError, EvidenceError } from '../../attestation/src/errors.ts';
import type { Check } from '../../attestation/src/verdict.ts';
import type { Outcome } from './topic.ts';

/** `accept`, or the code of the error that refused; a DecodeError outside evidence is `format`. */
export async function layerOf(run: () => Promise<readonly Check[] | undefined>): Promise<string> {
  try {
    const checks = (await run()) ?? [];
    const failed = checks.filter(({ outcome, required }) => required && outcome !== 'passed').map(({ id }) => id);
    return failed.length === 0 ? 'accept' : `appraisal ${failed.join(' ')}`;
  } catch (error) {
    if (error instanceof EvidenceError) return error.code;
    if (error instanceof DecodeError) return 'format';
    throw error;
  }
}

/**
 * Exact where the layer that refused is one that the first matching row lists for the manifest's words. A layer that
 * no row knows is a miss: a refusal for another reason shows nothing.
 */
export function atLayer(words: string, got: string, rows: readonly (readonly [RegExp, readonly string[]])[]): Outcome {
  const allowed = rows.find(([pattern]) => pattern.test(words))?.[1] ?? [];
  const exact = allowed.some((layer) => got === layer || got.startsWith(`${layer} `));
  return { exact, expected: `reject at ${words}`, got };
}
