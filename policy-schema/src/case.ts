/** Tests for a policy: a table of flows and what is to become of each (`policy.test.yaml`). */

import * as z from 'zod';
import type { AccessRequest } from './cedar.ts';
import { type Decision, decide, type Sink } from './decide.ts';
import { PolicyError } from './error.ts';
import { explain } from './finding.ts';
import { ANYONE, type MethodId, type Policy } from './policy.ts';
import { isDay } from './quantity.ts';
import { readSource } from './source.ts';

/** One row. */
export interface PolicyCase {
  readonly name: string;
  /** Identity by which the caller is authenticated, or `anyone`; and what is known of the caller then. */
  readonly caller: { readonly identity: string; readonly id: string; readonly groups: readonly string[] };
  readonly method: MethodId;
  readonly label: readonly string[];
  /** `call`, `response`, `read:NAME`, `store:NAME`, `send:NAME` or `release:NAME`. */
  readonly sink: string;
  readonly expect: 'allow' | 'deny';
  /** Code of the rule that has to decide, where it matters which. */
  readonly because?: string;
  /** The day on which it happens. Without one, no assurance counts as in force. */
  readonly on?: string;
}

/** What became of a row. */
export interface CaseResult {
  readonly test: PolicyCase;
  readonly ok: boolean;
  readonly decision: Decision;
  /** 1-based. */
  readonly line: number;
}

/** How to ask Cedar, of which this module knows nothing: `authorize` of `@enclaim/policy-schema/cedar`. */
export type Authorizer = (policy: Policy, request: AccessRequest) => { readonly allow: boolean };

const SINK = /^(?:call|response|(?:read|store|send|release):\w+)$/;

const caller = z.strictObject({
  identity: z.string(),
  id: z.string().default('-'),
  groups: z.array(z.string()).default([]),
});

const cases: z.ZodType<{ readonly tests: readonly PolicyCase[] }> = z.strictObject({
  tests: z.array(
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
      because: z.string().exactOptional(),
      on: z.string().refine(isDay, { error: 'expected a day such as "2027-03-31"' }).exactOptional(),
    }),
  ),
});

/**
 * Runs a table of cases against a policy.
 * @param source the table, in YAML or JSON
 * @throws PolicyError where the table is not one, with places in it
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
  return parsed.data.tests.map((test, i) => {
    const decision = decideCase(policy, test, authorize);
    const ok = decision.allow === (test.expect === 'allow') && (test.because ?? decision.code) === decision.code;
    return { test, ok, decision, line: lineOf(`/tests/${i}`) };
  });
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
