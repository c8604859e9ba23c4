/** Policies as people write them. */

import { cap, PolicyError, type PolicyIssue } from '../error.ts';
import type { Policy } from '../policy.ts';
import { readPolicy } from './reading.ts';
import { readSource } from './source.ts';

/** The document's name in messages, and further checks besides its own grammar. */
export interface ParseOptions {
  readonly file?: string;
  /** Milliseconds since 1970 UTC; given, what has expired by then is an error. */
  readonly asOf?: number;
  /** More checks, such as `checkCedar`, for a policy that has no error of its own. */
  readonly checks?: readonly ((policy: Policy) => readonly PolicyIssue[])[];
}

/**
 * The policy of a document in YAML or JSON.
 * @throws PolicyError with at most 50 issues, each with its place
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy } from '@enclaim/policy-schema';
 *
 * const policy = parsePolicy(await readFile('policy.yaml'), { file: 'policy.yaml' });
 * console.log(policy.system.version);
 * ```
 */
export function parsePolicy(source: string | Uint8Array, options: ParseOptions = {}): Policy {
  const { policy, issues } = checkPolicy(source, options);
  if (!policy) throw new PolicyError(issues);
  return policy;
}

/** The result of checking a document: the policy is absent if an issue is an error. */
export interface CheckedPolicy {
  readonly policy?: Policy;
  readonly issues: readonly PolicyIssue[];
  /**
   * Where a part of the policy stands in the document, 1-based. The pointer leads into the policy,
   * whose lists are sorted.
   */
  placeOf(pointer: string): { readonly line: number; readonly column: number };
}

/**
 * As {@link parsePolicy}, with warnings, and without throwing.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { checkPolicy } from '@enclaim/policy-schema';
 *
 * const { policy, issues } = checkPolicy(await readFile('policy.yaml'), { file: 'policy.yaml' });
 * if (policy === undefined) console.error(issues);
 * ```
 */
export function checkPolicy(source: string | Uint8Array, options: ParseOptions = {}): CheckedPolicy {
  const { policy, issues, placeOf } = readAll(source, options);
  const refused = issues.some(({ severity }) => severity === 'error');
  return { ...(policy && !refused ? { policy } : {}), issues: cap(issues.sort(byPlace)), placeOf };
}

function readAll(
  source: string | Uint8Array,
  { file, asOf, checks = [] }: ParseOptions,
): Omit<CheckedPolicy, 'issues'> & { issues: PolicyIssue[] } {
  try {
    const { value, issues: ambiguities, locate } = readSource(source, file);
    const { policy, issues, asWritten } = readPolicy(value, asOf);
    const found = policy ? checks.flatMap((check) => check(policy)) : [];
    const further = found.map((issue) => ({ ...issue, pointer: asWritten(issue.pointer) }));
    const placeOf = (pointer: string): { line: number; column: number } => {
      const about = { code: 'value', severity: 'error', message: '', pointer: asWritten(pointer) } as const;
      const { line = 1, column = 1 } = locate(about);
      return { line, column };
    };
    return { ...(policy ? { policy } : {}), issues: [...ambiguities, ...issues, ...further].map(locate), placeOf };
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return { issues: [...error.issues], placeOf: () => ({ line: 1, column: 1 }) };
  }
}

/**
 * Document order; at one place the order of the messages, because some checkers have no order of
 * their own.
 */
function byPlace(a: PolicyIssue, b: PolicyIssue): number {
  const order = (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);
  return order || (a.message < b.message ? -1 : Number(a.message > b.message));
}
