/**
 * Reasons not to serve a policy: demands that this runtime does not enforce, and contradictions.
 */

import { MAX_RECORD_CLAIMS } from '@enclaim/attestation/record';
import {
  ANYONE,
  type ClaimKind,
  type MatchResult,
  type Policy,
  type PolicyDigest,
} from '@enclaim/policy-schema/admission';
import { type Capacity, unattainable } from '../governor/resources.ts';
import { cosigningRules } from './cosigning-rules.ts';
import { type AttestedIdentity, machineReferences, referencesOf } from './peer-references.ts';

/** Kinds of claim that this runtime enforces. */
export const HELD_CLAIMS: ReadonlySet<ClaimKind> = new Set([
  'audited-system',
  'access-logged',
  'encryption-at-rest',
  'deleted-after-retention',
  'no-undisclosed-recipients',
  'no-leakage',
  'bounded-resources',
  'local-first',
  'subprocessors-assured',
]);
/** Sections of governance that this runtime enforces. */
const HELD_GOVERNANCE: ReadonlySet<string> = new Set(['leaks', 'resources', 'sovereignty']);

/**
 * One reason why a policy is not served. The message refers to things by name, because names stay
 * when lists are sorted.
 */
export interface Hindrance {
  /** `claim` if the policy demands what is not enforced; `descriptors` if they contradict it. */
  readonly code: 'claim' | 'descriptors';
  /** JSON pointer into the policy. */
  readonly pointer: string;
  readonly message: string;
}

type Unheld = Omit<Hindrance, 'code'>;
/** Sections that are always there: storage is judged by {@link unheldStorage}. */
type Judged = Exclude<keyof Policy, 'storage'>;
/** Stands for a policy whose digest is not known here. */
const SOME_POLICY: PolicyDigest = `sha384:${'00'.repeat(48)}`;

const NOTHING = (): Unheld[] => [];

/**
 * Demands of each section that this runtime cannot enforce yet. A policy with one is refused as a
 * whole: to serve under a limit that nothing enforces would be to promise it. A new section of the
 * grammar must be judged here.
 */
const UNHELD: { readonly [Section in Judged]: (section: Policy[Section]) => Unheld[] } = {
  enclaim: NOTHING,
  system: NOTHING,
  data: NOTHING,
  services: (services) =>
    Object.entries(services).flatMap(([service, rules]) =>
      Object.entries(rules).flatMap(([method, { callers }]) =>
        callers.every((caller) => caller === ANYONE)
          ? []
          : [unable(`/services/${service}/${method}/callers`, `callers of ${service}/${method} that have to be known`)],
      ),
    ),
  // Whether a machine has a keeper of keys only its boot knows, which refuses where there is none.
  collections: NOTHING,
  subprocessors: (subprocessors) =>
    Object.entries(subprocessors).flatMap(([name, { identity }]) => {
      if (identity.attested === undefined) return [];
      const why = reasonAgainst(() => referencesOf(identity.attested as AttestedIdentity));
      return why === undefined
        ? []
        : [unable(`/subprocessors/${name}/identity/attested`, `subprocessor ${name} as attested: ${why}`)];
    }),
  declassify: NOTHING,
  residency: (residency) => (residency === 'none' ? [] : [unable('/residency', 'residency')]),
  access: ({ cedar }) => (cedar === '' ? [] : [unable('/access/cedar', 'Cedar policies')]),
  governance: (governance) =>
    Object.entries(governance).flatMap(([section, rule]) =>
      rule === 'none' || HELD_GOVERNANCE.has(section)
        ? []
        : [unable(`/governance/${section}`, `governance.${section}`)],
    ),
  overrides: (overrides) => (overrides.length === 0 ? [] : [unable('/overrides', 'overrides')]),
  controls: NOTHING,
  claims: (claims) => [
    ...claims.flatMap(({ id, kind }, i) =>
      HELD_CLAIMS.has(kind) ? [] : [unable(`/claims/${i}`, `claim ${id} of kind ${kind}`)],
    ),
    // The first record of a boot names every claim.
    ...(claims.length > MAX_RECORD_CLAIMS
      ? [unable('/claims', `${claims.length} claims, more than the ${MAX_RECORD_CLAIMS} that a record can name`)]
      : []),
  ],
  // Retention is enforced because no record is ever deleted. A missed review is for the evidence's
  // verifier to find.
  evidence: (evidence) => [
    ...unreadable(evidence),
    ...(evidence.pipeline.length === 0 ? [] : [unable('/evidence/pipeline', 'records of a pipeline')]),
  ],
  // What is sealed passes to successors by `Successions`, and to nothing else.
  succession: NOTHING,
};

/** References of machines that keep keys, or have them kept, if they are none. */
function unheldStorage({ keeper, keeps }: NonNullable<Policy['storage']>): Unheld[] {
  return Object.entries({ keeper, keeps }).flatMap(([name, machines]) => {
    if (machines === undefined) return [];
    const why = reasonAgainst(() => machineReferences(machines, SOME_POLICY));
    return why === undefined ? [] : [unable(`/storage/${name}`, `storage.${name}: ${why}`)];
  });
}

/** Keys of witnesses or of the mirror that are none, or for another use. */
function unreadable(evidence: Policy['evidence']): Unheld[] {
  const why = reasonAgainst(() => cosigningRules(evidence));
  return why === undefined ? [] : [unable('/evidence/witnesses', `these keys of witnesses and mirror: ${why}`)];
}

function reasonAgainst(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function unable(pointer: string, what: string): Unheld {
  return { pointer, message: `this runtime does not hold ${what}` };
}

/**
 * Every reason why a boot would refuse a policy, in one order. Empty if it would be served.
 * `enclaim check`, `bundle` and `run` call this before a boot, and admission calls it at boot, so
 * that they cannot disagree.
 *
 * @param matched the policy matched to the app's descriptors, if they are at hand
 * @param capacity the workers' resources for handlers, if known
 */
export function hindrancesTo(policy: Policy, matched?: MatchResult, capacity?: Capacity): readonly Hindrance[] {
  const { resources } = policy.governance;
  const ids = matched?.exposed.map(({ id }) => id) ?? [];
  const beyond = resources === 'none' || capacity === undefined ? [] : unattainable(resources, ids, capacity);
  const unheld = [
    ...Object.keys(UNHELD).flatMap((section) => unheldIn(policy, section as Judged)),
    ...(policy.storage === undefined ? [] : unheldStorage(policy.storage)),
  ];
  const contradictions = matched?.errors ?? [];
  return [
    ...[...unheld, ...beyond].map(({ pointer, message }): Hindrance => ({ code: 'claim', pointer, message })),
    ...contradictions.map(({ pointer, message }): Hindrance => ({ code: 'descriptors', pointer, message })),
  ];
}

function unheldIn<Section extends Judged>(policy: Policy, section: Section): Unheld[] {
  return UNHELD[section](policy[section]);
}
