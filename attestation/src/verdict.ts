/** Verdict: every check that was made, and every one that was not. */

import type { Strength } from '@enclaim/policy-schema';

/** How a check ended. `not run` is never a pass. */
export type Outcome = 'passed' | 'failed' | 'not run';

/** One check. Without `required: true` a check can only inform. */
export interface Check {
  /** Stable name, for machines: `quote.signature`, `register.4`, `demand.1`. */
  readonly id: string;
  readonly outcome: Outcome;
  /** Whether `ok` needs this check to have passed. */
  readonly required: boolean;
  /** What was found, against what; or why it was not run. */
  readonly detail: string;
  /** What a passed claim rests on. */
  readonly strength?: Strength;
}

/** The outcome of appraisal. */
export interface Verdict {
  /** Whether every required check passed. */
  readonly ok: boolean;
  readonly platform: string;
  readonly policy: string;
  readonly bundle: string;
  readonly bootId: string;
  readonly checks: readonly Check[];
}

/** Whether every required check passed; an empty list shows nothing and is not ok. */
export function allPassed(checks: readonly Check[]): boolean {
  const required = checks.filter((check) => check.required);
  return required.length > 0 && required.every((check) => check.outcome === 'passed');
}
