/** Tests for a policy: a table of flows and what is to become of each (`policy.test.yaml`). */

import * as z from 'zod';
import { PUBLIC, withAncestors } from './category.ts';
import type { AccessRequest } from './cedar.ts';
import { methodsOf } from './claim.ts';
import { DECISION_CODES, type Decision, type DecisionCode, decide, type Sink } from './decide.ts';
import { PolicyError, type PolicyIssue, pointerOf } from './error.ts';
import { ANYONE, type MethodId, type Policy } from './policy.ts';
import { isDay } from './quantity.ts';
import { explain } from './read/finding.ts';
import { readSource } from './read/source.ts';
import { suggestion } from './read/suggestion.ts';

/** One row. */
export interface PolicyCase {
  readonly name: string;
  /**
   * The caller: the identity by which it is authenticated, or `anyone`; and what is known of it
   * then.
   */
  readonly caller: { readonly identity: string; readonly id: string; readonly groups: readonly string[] };
  readonly method: MethodId;
  readonly label: readonly string[];
  /** `call`, `response`, `read:NAME`, `store:NAME`, `send:NAME` or `release:NAME`. */
  readonly sink: string;
  readonly expect: 'allow' | 'deny';
  /** Code of the rule that has to decide, if it matters which. */
  readonly because?: DecisionCode;
  /** The day on which it happens. Without one, no assurance counts as in force. */
  readonly on?: string;
}

/** The outcome of one row. */
export interface CaseResult {
  readonly test: PolicyCase;
  readonly ok: boolean;
  readonly decision: Decision;
  /** 1-based. */
  readonly line: number;
}

/**
 * A function that asks Cedar: `authorize` of `@enclaim/policy-schema/cedar`. This module knows
 * nothing of Cedar itself.
 */
export type Authorizer = (policy: Policy, request: AccessRequest) => { readonly allow: boolean };

const SINK = /^(?:call|response|(?:read|store|send|release):\w+)$/;

const caller = z.strictObject({
  identity: z.string(),
  id: z.string().default('-'),
  groups: z.array(z.string()).default([]),
});

const cases: z.ZodType<{ readonly tests: readonly PolicyCase[] }> = z.strictObject({
  tests: z
    .array(
      z.strictObject({
        name: z.string().min(1),
        caller: caller.prefault({ identity: ANYONE }),
        method: z.templateLiteral([z.string(), '/', z.string()], {
          error: 'expected a method such as "clinic.v1.Intake/Submit"',
        }),
        label: z.array(z.string()).default([]),
        sink: z
          .string()
          .regex(SINK, { error: 'expected call, response, read:NAME, store:NAME, send:NAME or release:NAME' })
          .default('call'),
        expect: z.enum(['allow', 'deny']),
        because: z.enum(DECISION_CODES).exactOptional(),
        on: z.string().refine(isDay, { error: 'expected a day such as "2027-03-31"' }).exactOptional(),
      }),
    )
    .min(1),
});

/**
 * Runs a table of cases against a policy.
 * @param source the table, in YAML or JSON
 * @throws PolicyError if the table is not one, with places in it
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy, runCases } from '@enclaim/policy-schema';
 * import { authorize } from '@enclaim/policy-schema/cedar';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * const cases = await readFile('policy.test.yaml', 'utf8');
 * for (const { test, ok } of runCases(policy, cases, authorize)) console.log(ok, test.name);
 * ```
 */
export function runCases(
  policy: Policy,
  source: string | Uint8Array,
  authorize: Authorizer,
  file?: string,
): CaseResult[] {
  const { value, issues, locate, lineOf } = readSource(source, file);
  const parsed = cases.safeParse(value);
  const wrong = [
    ...issues,
    ...(parsed.success ? [] : parsed.error.issues.flatMap((issue) => explain(issue, value, cases))),
  ];
  if (!parsed.success || wrong.length > 0) throw new PolicyError(wrong.map(locate));
  const strange = parsed.data.tests.flatMap((test, i) => [...strangersIn(policy, test, i)]);
  if (strange.length > 0) throw new PolicyError(strange.map(locate));
  return parsed.data.tests.map((test, i) => {
    const decision = decideCase(policy, test, authorize);
    const ok = decision.allow === (test.expect === 'allow') && (test.because ?? decision.code) === decision.code;
    return { test, ok, decision, line: lineOf(`/tests/${i}`) };
  });
}

/**
 * Issues for names that the policy does not have. Without this, a case that is denied because a
 * name is unknown would pass, and show nothing. A case about a method that has no rule on purpose
 * expects `no-rule` in so many words.
 */
function* strangersIn(
  policy: Policy,
  { caller, method, label, sink, because }: PolicyCase,
  index: number,
): Generator<PolicyIssue> {
  const among = (what: string, name: string, known: readonly string[], path: readonly PropertyKey[]): PolicyIssue[] =>
    known.includes(name)
      ? []
      : [
          {
            code: 'reference',
            severity: 'error',
            message: `the policy has no ${what} "${name}"${suggestion(name, known)}`,
            pointer: pointerOf(['tests', index, ...path]),
          },
        ];
  const methods = methodsOf(policy).map(([id]) => id);
  if (because !== 'no-rule') yield* among('rule for', method, methods, ['method']);
  yield* among('identity', caller.identity, [ANYONE, ...Object.keys(policy.access.identities)], ['caller', 'identity']);
  const categories = [PUBLIC, ...Object.keys(policy.data).flatMap(withAncestors)];
  for (const [i, category] of label.entries()) yield* among('category', category, categories, ['label', i]);
  const { kind, name } = sinkOf(sink) as { kind: Sink['kind']; name?: string };
  const { collections, subprocessors, declassify } = policy;
  if (name === undefined) return;
  if (kind === 'send') yield* among('subprocessor', name, Object.keys(subprocessors), ['sink']);
  else if (kind === 'release')
    yield* among(
      'release',
      name,
      declassify.map(({ id }) => id),
      ['sink'],
    );
  else yield* among('collection', name, Object.keys(collections), ['sink']);
}

function decideCase(policy: Policy, { caller, method, label, sink, on }: PolicyCase, authorize: Authorizer): Decision {
  const flow = { identity: caller.identity, method, label: new Set(label), sink: sinkOf(sink) };
  // Without Cedar text there is nothing to ask, and its engine would deny all.
  const authorized =
    policy.access.cedar.trim() !== '' &&
    authorize(policy, { identity: caller.identity, caller, method, label: flow.label }).allow;
  return decide(policy, flow, { authorized, ...(on === undefined ? {} : { now: Date.parse(on) }) });
}

function sinkOf(text: string): Sink {
  const [kind, name] = text.split(':');
  return { kind, name } as Sink;
}
