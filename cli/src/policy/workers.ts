/**
 * Text of `enclaim policy explain workers`: the methods that share worker processes, and why other
 * methods never do.
 */

import type { MatchResult, Policy } from '@enclaim/policy-schema';
import type { WorkerClass } from '@enclaim/policy-schema/admission';
import { type Obstacle, obstacle, type RuledMethod, workerClasses } from '@enclaim/policy-schema/workers';
import ansis from 'ansis';

/**
 * Lines for people.
 * @param matched the policy against the .proto files; if absent, methods and answers are taken from
 *   the rules alone
 */
export function explainWorkers(policy: Policy, matched: MatchResult | undefined): string {
  const methods: readonly RuledMethod[] = matched?.exposed ?? ruled(policy);
  const outbound = matched?.outbound ?? [];
  const classes = matched?.classes ?? workerClasses(policy, methods);
  const between = (a: WorkerClass, b: WorkerClass): Obstacle | undefined => {
    const [those, others] = [a, b].map((each) => methods.filter(({ id }) => each.methods.includes(id)));
    for (const one of those ?? [])
      for (const other of others ?? []) {
        const found = obstacle(policy, one, other, outbound);
        if (found !== undefined) return found;
      }
    return undefined;
  };
  const basis = matched === undefined ? 'by the rules alone: there is no folder proto beside the policy' : '';
  return [
    `${ansis.bold('workers')}   ${classes.length} ${classes.length === 1 ? 'class' : 'classes'} ${ansis.dim(basis)}`.trimEnd(),
    'means     methods of one class share worker processes, methods of two never do',
    ...classes.flatMap(({ methods: of, learns }, i) => [
      '',
      `${ansis.bold(`class ${i + 1}`)}   ${of.join(', ')}`,
      `learns    ${learns.join(', ') || 'nothing'}`,
      ...classes.slice(0, i).flatMap((earlier, at) => {
        const why = between(earlier, { methods: of, learns });
        return why === undefined ? [] : [`apart     from class ${at + 1}: ${told(why)}`];
      }),
    ]),
  ].join('\n');
}

function told({ learner, categories, teller, sink }: Obstacle): string {
  return `${learner} may learn ${categories.join(', ')}, which ${teller} may not put there: ${sink}`;
}

function ruled({ services }: Policy): RuledMethod[] {
  return Object.entries(services).flatMap(([service, rules]) =>
    Object.entries(rules).map(([name, rule]): RuledMethod => ({ id: `${service}/${name}`, rule })),
  );
}
