/** Text of `enclaim policy explain log`: how the log is kept, and who reads which part. */

import type { Policy } from '@enclaim/policy-schema';
import { quotedWithin } from '@enclaim/policy-schema/admission';
import ansis from 'ansis';

/** Lines for people. */
export function explainLog({ evidence: { durability, retention, readers = [], ...rest }, evidence }: Policy): string {
  const when = durability === 'batched' ? 'after its response' : 'before its response leaves';
  return [
    `${ansis.bold('log')}          a record of each call, on stable storage ${when}`,
    `kept         ${retention === 'unlimited' ? 'without an end' : `for at least ${retention}`}`,
    `quoted       ${quotedText(quotedWithin(rest))}`,
    ...cosignedText(evidence),
    'anyone       hashes, tiles, checkpoints, proofs',
    `entries      ${readers.join(', ') || 'nobody'}`,
    'enforced     runtime: a reader proves its key on an attested connection',
  ].join('\n');
}

/** How the log is cosigned and mirrored. No line where the policy does not speak of it. */
function cosignedText({ witnesses, unwitnessed, mirror }: Policy['evidence']): string[] {
  const beyond = unwitnessed === undefined ? '' : `; beyond ${unwitnessed} records without it, calls are refused`;
  return [
    ...(witnesses.length === 0 ? [] : [`cosigned     by the quorum of evidence.witnesses${beyond}`]),
    ...(mirror === undefined ? [] : [`forgotten    what the mirror ${mirror.split('+', 2).join('+')} holds`]),
  ];
}

function quotedText(within: number): string {
  return within === 0
    ? 'by the hardware once a proof is asked for (call --prove)'
    : `by the hardware within ${within} ms; without a quote for ten times as long, at least 10 s, calls are refused`;
}
