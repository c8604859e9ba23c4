/**
 * Text of `enclaim policy explain channels`: the methods that answer only callers who were given
 * evidence.
 */

import type { MatchResult, Policy } from '@enclaim/policy-schema';
import { isAttestedOnly } from '@enclaim/policy-schema/admission';
import ansis from 'ansis';

/**
 * Lines for people.
 * @param matched the policy against the .proto files; if absent, methods are taken from the rules
 *   alone
 */
export function explainChannels(policy: Policy, matched: MatchResult | undefined): string {
  const ruled = Object.entries(policy.services).flatMap(([service, rules]) =>
    Object.keys(rules).map((name) => `${service}/${name}`),
  );
  const methods: readonly string[] = matched?.exposed.map(({ id }) => id) ?? ruled;
  const only = methods.filter((id) => isAttestedOnly(policy, id));
  const plain = methods.filter((id) => !isAttestedOnly(policy, id));
  const { attested } = policy.access;
  const rule = attested === undefined ? 'left out' : typeof attested === 'string' ? attested : attested.join(', ');
  return [
    `${ansis.bold('channels')}     access.attested: ${rule}`,
    'means        on enclaim-h2 a caller is given evidence before its first call, on plain h2 it is not',
    'enforced     runtime, before a request is read',
    `enclaim-h2   ${methods.join(', ') || 'no method'}`,
    `plain h2     ${plain.join(', ') || 'no method'}`,
    `refused      on plain h2: ${only.join(', ') || 'no method'}`,
  ].join('\n');
}
