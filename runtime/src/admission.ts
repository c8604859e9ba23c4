/** Admission: from measured bytes to the methods that may be served, and nothing else. */

import {
  type Descriptors,
  decodePolicy,
  digestOfCanonical,
  type ExposedMethod,
  match,
  type Policy,
  type PolicyDigest,
  readDescriptors,
  type WithheldMethod,
} from '@enclaim/policy-schema/admission';
import { RefusalError } from './errors.ts';

/**
 * Kinds of claim that this runtime holds, and the section of the policy each rests on here. A policy that states
 * another kind is refused whole: a claim that nothing enforces must not be served under.
 */
const ENFORCED: ReadonlySet<string> = new Set(['audited-system', 'access-logged', 'no-undisclosed-recipients']);

/** What was admitted. */
export interface Admission {
  readonly policy: Policy;
  readonly digest: PolicyDigest;
  readonly descriptors: Descriptors;
  readonly exposed: readonly ExposedMethod[];
  readonly withheld: readonly { readonly method: string; readonly reasons: readonly string[] }[];
}

/**
 * Admits a policy with its descriptor set.
 * @param expected the digest that was measured
 * @throws RefusalError `policy`, `descriptors`, `claim`
 */
export function admit(policyBytes: Uint8Array, descriptorBytes: Uint8Array, expected: PolicyDigest): Admission {
  const digest = digestOfCanonical(policyBytes);
  if (digest !== expected) throw new RefusalError('policy', `policy is ${digest}, measured was ${expected}`);
  const policy = reading('policy', () => decodePolicy(policyBytes));
  refuseUnenforced(policy);
  const descriptors = reading('descriptors', () => readDescriptors(descriptorBytes));
  const { exposed, withheld, errors } = match(descriptors, policy);
  const [error] = errors;
  if (error !== undefined) throw new RefusalError('descriptors', error.message);
  const unary = exposed.filter(({ descriptor }) => descriptor.methodKind === 'unary');
  const streaming = exposed.filter(({ descriptor }) => descriptor.methodKind !== 'unary');
  return {
    policy,
    digest,
    descriptors,
    exposed: unary,
    withheld: [
      ...withheld.map((method) => ({ method: method.method, reasons: reasonsOf(method) })),
      ...streaming.map(({ id }) => ({ method: id, reasons: ['streaming methods are not served by this runtime'] })),
    ],
  };
}

function refuseUnenforced(policy: Policy): void {
  policy.claims.forEach(({ id, kind }, index) => {
    if (ENFORCED.has(kind)) return;
    throw new RefusalError('claim', `claim ${id}: this runtime does not enforce ${kind}`, {
      pointer: `/claims/${index}`,
    });
  });
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
