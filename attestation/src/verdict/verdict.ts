/** Verdict: every check that was made, and every one that was not. */

import type { Strength } from '@enclaim/policy-schema/claims';

/** How a check ended. `not run` is never a pass. */
export type Outcome = 'passed' | 'failed' | 'not run';

/** One check. Without `required: true` a check can only inform. */
export interface Check {
  /** Stable name, for machines: `quote.signature`, `register.4`, `demand.1`. */
  readonly id: string;
  readonly outcome: Outcome;
  /** Whether `ok` needs this check to have passed. */
  readonly required: boolean;
  /** The value found and the value expected; or the reason why the check was not run. */
  readonly detail: string;
  /** Strength of the proof that a passed claim rests on. */
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
  /**
   * End of the verdict: the earliest end of certificates, revocation lists, collateral, references,
   * checkpoints and the deployment. null if nothing of it ends. A verdict says nothing of any time
   * after its end.
   */
  readonly end: { readonly notAfter: string; readonly what: string } | null;
  readonly checks: readonly Check[];
}

/** A check that passed and had to. */
export function passed(id: string, detail: string): Check {
  return { id, outcome: 'passed', required: true, detail };
}

/** A check that could not be made and that the verdict does not need. */
export function notRun(id: string, detail: string): Check {
  return { id, outcome: 'not run', required: false, detail };
}

/** A required comparison. Its detail has the value found, and the value expected if it differs. */
export function compared(id: string, equal: boolean, detail: string): Check {
  return { id, outcome: equal ? 'passed' : 'failed', required: true, detail };
}

/** Whether every required check passed. An empty list proves nothing and is not ok. */
export function allPassed(checks: readonly Check[]): boolean {
  const required = checks.filter((check) => check.required);
  return required.length > 0 && required.every((check) => check.outcome === 'passed');
}
