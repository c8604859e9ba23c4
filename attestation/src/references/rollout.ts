/**
 * Rollouts: while machines are updated, references accept another policy beside their own, for a
 * window.
 */

import type { Moment } from '../moment.ts';
import { type Check, compared } from '../verdict/verdict.ts';
import type { References } from './references.ts';

/** References as they are at a moment for a boot under a policy. */
export interface InForce {
  /** The references with only the policy and the bundles that are accepted of this boot. */
  readonly references: References;
  readonly check: Check;
}

/**
 * The references that hold for a boot under the attested policy. Accepted is the policy that they
 * name, or one of a rollout whose window includes the moment; the verdict then ends with the
 * window. Outside of every window the boot is compared with the policy that they name.
 */
export function policyInForce({ rollout = [], ...references }: References, attested: string, moment: Moment): InForce {
  const { policy } = references;
  const own = rollout.filter((one) => one.policy === attested);
  const holding = own
    // Written so that a clock that is not a number fails.
    .filter(({ notBefore, notAfter }) => Date.parse(notBefore) <= moment.now && moment.now <= Date.parse(notAfter))
    .reduce<(typeof own)[number] | null>((a, b) => (a !== null && a.notAfter >= b.notAfter ? a : b), null);
  if (attested === policy || holding === null) {
    const windows = own.map(({ notBefore, notAfter }) => `, accepted from ${notBefore} to ${notAfter}`).join('');
    const detail = `${attested}, expected ${policy}${attested === policy ? '' : windows}`;
    return { references, check: compared('policy', attested === policy, detail) };
  }
  const { notAfter, bundles } = holding;
  moment.holds?.({ at: Date.parse(notAfter), what: 'rollout' });
  return {
    references: { ...references, policy: holding.policy, bundles },
    check: compared('policy', true, `${attested}, accepted until ${notAfter} beside ${policy}`),
  };
}
