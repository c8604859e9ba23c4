/** Text of `enclaim policy explain events`: what handlers may put on record by name. */

import type { Policy } from '@enclaim/policy-schema';
import ansis from 'ansis';

/** Lines for people. */
export function explainEvents({ evidence: { events = [] } }: Policy): string {
  return [
    `${ansis.bold('events')}       ${events.join(', ') || 'none'}`,
    'means        a handler may put these on record by ctx.log, and no other',
    'named        while the call carries nothing but public data; after that the record says that there was one',
    'enforced     runtime, before anything is recorded; the call goes on if the handler catches the refusal',
  ].join('\n');
}
