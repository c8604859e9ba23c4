/**
 * Methods that may read what they may not return: after such a record every answer of theirs is
 * refused.
 */

import type { Policy } from '@enclaim/policy-schema';
import { type MethodId, uncovered } from '@enclaim/policy-schema/admission';
import type { Finding, Place } from './report.ts';

/**
 * Gives one warning for each way from something that a method learns to a response that may not
 * carry it.
 */
export function silentMethods(policy: Policy, place: (pointer: string) => Place): Finding[] {
  return Object.entries(policy.services).flatMap(([service, rules]) =>
    Object.entries(rules).flatMap(([name, { reads, sends, returns }]) => {
      const id: MethodId = `${service}/${name}`;
      const released = releasedBy(policy, id);
      const learned = [
        ...reads
          .filter((collection) => !released.has(collection))
          .map((collection) => ({
            how: `reads ${collection}, which may hold`,
            way: 'reads' as const,
            label: policy.collections[collection]?.holds ?? [],
          })),
        // Where a policy names no calls, handlers hear nothing from there.
        ...sends
          .filter((to) => (policy.subprocessors[to]?.calls.length ?? 0) > 0)
          .map((to) => ({
            how: `hears from ${to}, which may know`,
            way: 'sends' as const,
            label: policy.subprocessors[to]?.receives ?? [],
          })),
      ];
      return learned.flatMap(({ how, way, label }): Finding[] => {
        const over = uncovered(returns, label);
        if (over.length === 0) return [];
        return [
          {
            level: 'warning',
            code: 'silenced',
            message:
              `${id} ${how} ${over.join(', ')}; it does not return that, and after it no answer leaves ` +
              `(${way} → returns): return it, let a release send it in place of the handler, or split the method`,
            at: place(`/services/${id}/${way}`),
            policy: place(`/services/${id}/returns`),
          },
        ];
      });
    }),
  );
}

/**
 * Collections from which releases of a method take a record. The method reads them for that, and
 * its handler need not see them.
 */
function releasedBy({ declassify }: Policy, id: MethodId): ReadonlySet<string> {
  const sources = declassify.filter(({ method }) => method === id).flatMap(({ build }) => Object.values(build));
  return new Set(
    sources.flatMap((source) => {
      const [root, collection = ''] = source.split('.');
      return root === '$record' ? [collection] : [];
    }),
  );
}
