/** Text of `enclaim policy explain log`: how the log is kept, and who reads which part. */

import type { Policy } from '@enclaim/policy-schema';
import ansis from 'ansis';

/** Lines for people. */
export function explainLog({ evidence: { durability, retention, readers = [] } }: Policy): string {
  const when = durability === 'batched' ? 'after its response' : 'before its response leaves';
  return [
    `${ansis.bold('log')}          a record of each call, on stable storage ${when}`,
    `kept         ${retention === 'unlimited' ? 'without an end' : `for at least ${retention}`}`,
    'anyone       hashes, tiles, checkpoints, proofs',
    `entries      ${readers.join(', ') || 'nobody'}`,
    'enforced     runtime: a reader proves its key on an attested connection',
  ].join('\n');
}
