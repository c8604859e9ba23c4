/** Errors of a policy, and their places. */

/**
 * Why a policy, a descriptor set or a demand was not accepted. Stable: callers and SARIF rules
 * match on it.
 */
export type PolicyIssueCode =
  | 'size' // larger than the limit
  | 'encoding' // not UTF-8
  | 'syntax' // not YAML or JSON
  | 'depth' // nested deeper than the limit, or more nodes than the limit
  // YAML, but of a kind that can mean something else than it seems: anchors, tags, octals, many
  // documents
  | 'yaml'
  | 'duplicate' // the same key, name or set member twice
  | 'unknown' // a key that the grammar does not have
  | 'missing' // a key that the grammar demands
  | 'type' // a value of another type
  | 'value' // a value of the right type that is not allowed
  | 'reference' // names something that the policy does not declare
  | 'conflict' // two parts of the policy contradict each other
  | 'unbacked' // a claim that nothing in the policy backs
  | 'expired' // past at the time asked about
  | 'control' // a control id that no table knows (a warning)
  | 'cedar' // the Cedar text does not parse or validate
  | 'canonical' // another encoding of the policy than the canonical one
  | 'descriptor' // not a usable FileDescriptorSet
  | 'handling' // handling options that say nothing usable
  | 'demand' // not a demand of the grammar
  | 'limit'; // more issues than are listed

/**
 * A part of the policy that cannot work with these descriptors. No method should be served under
 * it.
 */
export interface MatchError {
  readonly message: string;
  readonly pointer: string;
}

/** One thing that is wrong. */
export interface PolicyIssue {
  readonly code: PolicyIssueCode;
  readonly severity: 'error' | 'warning';
  /** Lower case, no full stop: what was found and what was expected. */
  readonly message: string;
  /** RFC 6901 pointer into the document; empty for the whole of it. */
  readonly pointer: string;
  /**
   * Place within the text that stands at `pointer`, 1-based; only on issues whose own place is not
   * known yet.
   */
  readonly within?: { readonly line: number; readonly column: number };
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  /** 1-based, in UTF-16 code units. */
  readonly column?: number;
}

/**
 * Most issues that are listed. One more, of code `limit`, then says that further ones exist.
 *
 * @example
 * ```ts
 * import { checkPolicy } from '@enclaim/policy-schema';
 * import { MAX_ISSUES } from '@enclaim/policy-schema/issues';
 *
 * checkPolicy('enclaim: 2').issues.length <= MAX_ISSUES; // true
 * ```
 */
export const MAX_ISSUES = 50;

/**
 * A policy that was refused. `issues` has at least one entry of severity error, in document order.
 *
 * @example
 * ```ts
 * import { parsePolicy, PolicyError } from '@enclaim/policy-schema';
 *
 * try {
 *   parsePolicy('enclaim: 2');
 * } catch (error) {
 *   if (error instanceof PolicyError) console.error(error.issues.map(({ code }) => code));
 * }
 * ```
 */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly issues: readonly PolicyIssue[];

  constructor(issues: readonly PolicyIssue[], options?: ErrorOptions) {
    const listed = cap(issues);
    super(listed.map(formatIssue).join('\n'), options);
    this.issues = listed;
  }

  /** The code of the first error. */
  get code(): PolicyIssueCode {
    return this.issues.find(({ severity }) => severity === 'error')?.code ?? 'syntax';
  }
}

/** A PolicyError of one error without a place in a document. */
export function refuse(code: PolicyIssueCode, message: string, pointer = '', options?: ErrorOptions): PolicyError {
  return new PolicyError([{ code, severity: 'error', message, pointer }], options);
}

/**
 * At most {@link MAX_ISSUES}, then one that says so. Errors go before warnings if there is no room
 * for both.
 */
export function cap(issues: readonly PolicyIssue[]): PolicyIssue[] {
  if (issues.length <= MAX_ISSUES || issues[MAX_ISSUES]?.code === 'limit') return [...issues];
  const kept = new Set([...issues].sort(bySeverity).slice(0, MAX_ISSUES));
  const message = `${issues.length - MAX_ISSUES} more issues are not listed`;
  return [...issues.filter((issue) => kept.has(issue)), { code: 'limit', severity: 'error', message, pointer: '' }];
}

/**
 * `policy.yaml:14:7 claims[2]: encryption-at-rest needs a collection`, as far as the parts are
 * known.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { checkPolicy, formatIssue } from '@enclaim/policy-schema';
 *
 * const { issues } = checkPolicy(await readFile('policy.yaml'), { file: 'policy.yaml' });
 * for (const issue of issues) console.error(formatIssue(issue)); // policy.yaml:9:5 …
 * ```
 */
export function formatIssue({ file, line, column, pointer, message, severity }: PolicyIssue): string {
  const place = [file, line, column].filter((part) => part !== undefined).join(':');
  const path = formatPointer(pointer);
  return `${[place, path].filter(Boolean).join(' ')}${place || path ? ': ' : ''}${severity === 'warning' ? 'warning: ' : ''}${message}`;
}

/**
 * `/services/clinic.v1.Intake/Submit/accepts/0` → `services["clinic.v1.Intake"].Submit.accepts[0]`.
 */
export function formatPointer(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'))
    .map((step) => {
      if (/^\d+$/.test(step)) return `[${step}]`;
      return /^\w+$/.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
    })
    .join('')
    .replace(/^\./, '');
}

/** An RFC 6901 pointer from its steps. */
export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

function bySeverity(a: PolicyIssue, b: PolicyIssue): number {
  return Number(a.severity === 'warning') - Number(b.severity === 'warning');
}
