/** How long a collection keeps a value. */

import { type Collection, secondsOf } from '@enclaim/policy-schema/admission';

/** Milliseconds that a collection keeps a value, from when its oldest source was stored. */
export function retentionOf({ retention }: Pick<Collection, 'retention'>): number {
  return retention === 'unlimited' ? Number.POSITIVE_INFINITY : secondsOf(retention) * 1000;
}
