/** Admission: from measured bytes to the methods that may be served, and nothing else. */

import {
  ANYONE,
  type ClaimKind,
  type Descriptors,
  decodePolicy,
  digestOfCanonical,
  type ExposedMethod,
  match,
  type OutboundMethod,
  type Policy,
  type PolicyDigest,
  readDescriptors,
  type WithheldMethod,
  type WorkerClass,
} from '@enclaim/policy-schema/admission';
import { type AttestedIdentity, referencesOf } from './egress/attested.ts';
import { planReleases, type Release } from './egress/release.ts';
import { RefusalError } from './errors.ts';

/** Kinds of claim that this runtime holds. */
const HELD: ReadonlySet<ClaimKind> = new Set([
  'audited-system',
  'access-logged',
  'no-undisclosed-recipients',
  'no-leakage',
  'bounded-resources',
  'local-first',
  'subprocessors-assured',
]);
/** Sections of governance that this runtime holds. */
const HELD_GOVERNANCE: ReadonlySet<string> = new Set(['leaks', 'resources', 'sovereignty']);

/** A sentence that cannot be held, by where it stands. */
interface Unheld {
  readonly pointer: string;
  readonly message: string;
}

const NOTHING = (): Unheld[] => [];

/**
 * Sentences of each section that this runtime cannot hold yet. A policy that has one is refused whole: to serve under a
 * limit that nothing enforces would be to promise it. A section that is new in the grammar has to be judged here.
 */
const UNHELD: { readonly [Section in keyof Policy]: (section: Policy[Section]) => Unheld[] } = {
  enclaim: NOTHING,
  system: NOTHING,
  data: NOTHING,
  services: (services) =>
    Object.entries(services).flatMap(([service, rules]) =>
      Object.entries(rules).flatMap(([method, { callers }]) =>
        callers.every((caller) => caller === ANYONE)
          ? []
          : [unable(`/services/${service}/${method}/callers`, 'callers that have to be known')],
      ),
    ),
  collections: (collections) =>
    Object.entries(collections).flatMap(([name, { storage }]) =>
      storage === 'volatile' ? [] : [unable(`/collections/${name}/storage`, `${storage} storage`)],
    ),
  subprocessors: (subprocessors) =>
    Object.entries(subprocessors).flatMap(([name, { identity }]) => {
      if (identity.attested === undefined) return [];
      const why = reasonAgainst(() => referencesOf(identity.attested as AttestedIdentity));
      return why === undefined ? [] : [unable(`/subprocessors/${name}/identity/attested`, `this peer: ${why}`)];
    }),
  declassify: NOTHING,
  residency: (residency) => (residency === 'none' ? [] : [unable('/residency', 'residency')]),
  access: ({ cedar }) => (cedar === '' ? [] : [unable('/access/cedar', 'Cedar policies')]),
  governance: (governance) =>
    Object.entries(governance).flatMap(([section, rule]) =>
      rule === 'none' || HELD_GOVERNANCE.has(section) ? [] : [unable(`/governance/${section}`, section)],
    ),
  overrides: (overrides) => (overrides.length === 0 ? [] : [unable('/overrides', 'overrides')]),
  controls: NOTHING,
  claims: (claims) =>
    claims.flatMap(({ id, kind }, i) =>
      HELD.has(kind) ? [] : [unable(`/claims/${i}`, `claim ${id} of kind ${kind}`)],
    ),
  // Retention is held by never deleting a record; a missed review is for the evidence's reader to find.
  evidence: ({ witnesses }) => (witnesses.length === 0 ? [] : [unable('/evidence/witnesses', 'witnesses')]),
  // Nothing is sealed, so nothing passes to a successor.
  succession: NOTHING,
};

function reasonAgainst(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function unable(pointer: string, what: string): Unheld {
  return { pointer, message: `${pointer}: this runtime does not hold ${what}` };
}

/** What was admitted. */
export interface Admission {
  readonly policy: Policy;
  readonly digest: PolicyDigest;
  readonly descriptors: Descriptors;
  readonly exposed: readonly ExposedMethod[];
  readonly withheld: readonly { readonly method: string; readonly reasons: readonly string[] }[];
  /** Methods of the subprocessors. */
  readonly outbound: readonly OutboundMethod[];
  /** Which of the exposed methods share worker processes. */
  readonly classes: readonly WorkerClass[];
  /** Rules of declassification by id. */
  readonly releases: ReadonlyMap<string, Release>;
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
  refuseUnheld(policy);
  const descriptors = reading('descriptors', () => readDescriptors(descriptorBytes));
  const { exposed, withheld, errors, outbound, classes } = match(descriptors, policy);
  const [error] = errors;
  if (error !== undefined) throw new RefusalError('descriptors', error.message);
  return {
    policy,
    digest,
    descriptors,
    exposed,
    withheld: withheld.map((method) => ({ method: method.method, reasons: reasonsOf(method) })),
    outbound,
    classes,
    releases: planReleases(policy, descriptors, exposed),
  };
}

function refuseUnheld(policy: Policy): void {
  const [first] = Object.keys(UNHELD).flatMap((section) => unheldIn(policy, section as keyof Policy));
  if (first !== undefined) throw new RefusalError('claim', first.message, { pointer: first.pointer });
}

function unheldIn<Section extends keyof Policy>(policy: Policy, section: Section): Unheld[] {
  return UNHELD[section](policy[section]);
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
