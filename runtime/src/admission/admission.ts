/** Admission: from measured bytes to the methods that may be served, and nothing else. */

import {
  type Descriptors,
  decodePolicy,
  digestOfCanonical,
  type ExposedMethod,
  match,
  type OutboundMethod,
  type Policy,
  type PolicyDigest,
  quotedWithin,
  readDescriptors,
  type ServedClaims,
  servedClaims,
  type WithheldMethod,
  type WorkerClass,
} from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Capacity } from '../governor/resources.ts';
import { formsOf } from '../message/message-form.ts';
import { Messages } from '../message/transcoder/messages.ts';
import type { RecordForm } from '../storage/record-form.ts';
import { type Hindrance, hindrancesTo } from './hindrances.ts';
import { planReleases, type Release } from './release-plan.ts';

/** The result of admission. */
export interface Admission {
  readonly policy: Policy;
  readonly digest: PolicyDigest;
  readonly descriptors: Descriptors;
  readonly exposed: readonly ExposedMethod[];
  readonly withheld: readonly { readonly method: string; readonly reasons: readonly string[] }[];
  /** Methods of the subprocessors. */
  readonly outbound: readonly OutboundMethod[];
  /** Messages of the exposed methods, and of those of the subprocessors. */
  readonly messages: Messages;
  /** Forms of records by collection, where the policy names a message. */
  readonly forms: ReadonlyMap<string, RecordForm>;
  /** Groups of the exposed methods that share worker processes. */
  readonly classes: readonly WorkerClass[];
  /** Rules of declassification by id. */
  readonly releases: ReadonlyMap<string, Release>;
  /** Claims that records of decisions name. */
  readonly claims: ServedClaims;
  /** Milliseconds within which a record is under a quote of the hardware; 0 on demand. */
  readonly within: number;
}

/** Characters of reasons in a refusal. The supervisor takes 1000 of the whole. */
const MAX_TOLD_CHARS = 900;

/**
 * Admits a policy with its descriptor set.
 *
 * @param expected the digest that was measured
 * @param capacity the workers' resources for handlers, if they are to be compared to the policy's
 * budgets
 * @throws RefusalError `policy`, `descriptors`, `claim`: with every reason at once, up to a limit
 */
export function admit(
  policyBytes: Uint8Array,
  descriptorBytes: Uint8Array,
  expected: PolicyDigest,
  capacity?: Capacity,
): Admission {
  const digest = digestOfCanonical(policyBytes);
  if (digest !== expected) throw new RefusalError('policy', `policy is ${digest}, measured was ${expected}`);
  const policy = reading('policy', () => decodePolicy(policyBytes));
  const descriptors = reading('descriptors', () => readDescriptors(descriptorBytes));
  const matched = match(descriptors, policy);
  refuseHindered(hindrancesTo(policy, matched, capacity));
  const { exposed, withheld, outbound, classes, stored } = matched;
  return {
    policy,
    digest,
    descriptors,
    exposed,
    withheld: withheld.map((method) => ({ method: method.method, reasons: reasonsOf(method) })),
    outbound,
    messages: new Messages({ exposed, outbound, descriptors }),
    forms: formsOf(stored, descriptors),
    classes,
    releases: planReleases(policy, descriptors, exposed),
    claims: servedClaims(policy),
    within: quotedWithin(policy.evidence),
  };
}

function refuseHindered(hindrances: readonly Hindrance[]): void {
  const [first] = hindrances;
  if (first === undefined) return;
  const told: string[] = [];
  for (const { message } of hindrances) {
    if (told.length > 0 && told.join('; ').length + message.length > MAX_TOLD_CHARS) break;
    told.push(message);
  }
  const untold = hindrances.length - told.length;
  const message = [...told, ...(untold > 0 ? [`and ${untold} more`] : [])].join('; ');
  throw new RefusalError(first.code, message, { pointer: first.pointer });
}

function reasonsOf(withheld: WithheldMethod): string[] {
  return withheld.reasons.map(({ message }) => message);
}

function reading<T>(code: 'policy' | 'descriptors', read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new RefusalError(code, (cause as Error).message, { cause });
  }
}
