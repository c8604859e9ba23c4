/** Reports of checks of a policy and its protos: for people, as JSON, and as SARIF. */

import type { PolicyIssue } from '@enclaim/policy-schema';
import type { Reason } from '@enclaim/policy-schema/admission';
import ansis from 'ansis';

/** A place in a file, 1-based. */
export interface Place {
  readonly file: string;
  readonly line?: number;
  readonly column?: number;
}

/** One line of a report. `note`: as intended, and good to know. */
export interface Finding {
  readonly level: 'error' | 'warning' | 'note';
  readonly code: PolicyIssue['code'] | Reason['code'] | 'declassify' | 'subprocessor' | 'runtime' | 'silenced';
  readonly message: string;
  readonly at: Place;
  /** For a method that does not fit: the part of the policy that does not cover it. */
  readonly policy?: Place;
}

const COLOURS = { error: ansis.red, warning: ansis.yellow, note: ansis.dim } as const;

/** `proto/a.proto:11:3: error: … (policy.yaml:9:5)` */
export function formatFinding({ level, message, at, policy }: Finding): string {
  const against = policy ? ansis.dim(` (${formatPlace(policy)})`) : '';
  return `${formatPlace(at)}: ${COLOURS[level](level)}: ${message}${against}`;
}

function formatPlace({ file, line, column }: Place): string {
  return [file, line, column].filter((part) => part !== undefined).join(':');
}
