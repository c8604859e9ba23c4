/** The layer that refused and its reason, held against what a manifest says in its own words. */

import { DecodeError, EvidenceError } from '../../attestation/src/errors.ts';
import { forgetParsed } from '../../attestation/src/parse-once.ts';
import type { Check } from '../../attestation/src/verdict/verdict.ts';
import { CannotFeed, type Outcome } from './topic.ts';

/** Words of a manifest, the layers of ours that they mean, and what our reason must say. */
export type LayerRow = readonly [words: RegExp, layers: readonly string[], reason: RegExp];

/**
 * `accept`, or the code of the error that refused and its message; a DecodeError outside evidence is `format`. A case runs
 * with nothing parsed before and again with all of it: both endings, if they differ, which is no layer.
 */
export async function layerOf(run: () => Promise<readonly Check[] | undefined>): Promise<string> {
  forgetParsed();
  const cold = await endingOf(run);
  const warm = await endingOf(run);
  return cold === warm ? cold : `differs: at first ${cold}, then ${warm}`;
}

async function endingOf(run: () => Promise<readonly Check[] | undefined>): Promise<string> {
  try {
    const checks = (await run()) ?? [];
    const failed = checks.filter(({ outcome, required }) => required && outcome !== 'passed').map(({ id }) => id);
    return failed.length === 0 ? 'accept' : `appraisal: ${failed.join(' ')}`;
  } catch (error) {
    if (error instanceof EvidenceError) return `${error.code}: ${error.message}`;
    if (error instanceof DecodeError) return `format: ${error.message}`;
    throw error;
  }
}

/**
 * Exact where the first row that knows the manifest's words names the layer that refused, and our reason says what it
 * must: a refusal by the right layer for another reason shows nothing.
 * @throws CannotFeed where no row knows the words.
 */
export function atLayer(words: string, got: string, rows: readonly LayerRow[]): Outcome {
  const row = rows.find(([pattern]) => pattern.test(words));
  if (row === undefined) throw new CannotFeed(`no row for a refusal at "${words}"; ours is ${got}`);
  const [, layers, reason] = row;
  const exact = layers.includes(layerIn(got)) && reason.test(got);
  return { exact, expected: `reject at ${words}: ${layers.join(' or ')} with ${reason}`, got };
}

/** The layer of what `layerOf` gave. */
export function layerIn(got: string): string {
  return got.split(':', 1)[0] ?? '';
}
