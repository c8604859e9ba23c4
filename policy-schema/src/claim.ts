/** The kinds of claim: what must be in a policy to back one, who enforces it, and how strongly it then holds. */

import { type Category, overlaps } from './category.ts';
import type { Claim, ClaimKind, Policy } from './policy.ts';

/**
 * How a claim is known to hold. `measured`: follows from the launch measurement. `enforced`: the measured runtime
 * refuses the violation. `observed`: it records it and cannot prevent it. `asserted`: a named third party signed it.
 */
export type Strength = 'measured' | 'enforced' | 'observed' | 'asserted';

/** Strengths from the strongest to the weakest. */
export const STRENGTHS: readonly Strength[] = ['measured', 'enforced', 'observed', 'asserted'];

/** One part of a claim and its strength: a claim of two parts is as strong as its weaker one. */
export interface Standing {
  readonly part: string;
  readonly strength: Strength;
}

/** A kind of claim. */
export interface ClaimRule {
  /** What the claim says, for people. */
  readonly means: string;
  /** What must be in the policy. */
  readonly needs: string;
  readonly enforcer: string;
  /** What is lacking: empty where the policy backs the claim. Each completes "<kind> needs …". */
  readonly lacks: (policy: Policy, claim: Claim) => string[];
  readonly standing: (policy: Policy) => readonly Standing[];
}

/** Every kind of claim. */
export const CLAIM_KINDS: Readonly<Record<ClaimKind, ClaimRule>> = {
  'access-logged': {
    means: 'every access is on record before its response leaves, and somebody looks at the record',
    needs: 'evidence.durability before-response; evidence.review with a cadence and reviewers',
    enforcer: 'evidence log; a signed review record per period',
    lacks: ({ evidence }) => [
      ...lack(evidence.durability !== 'before-response', 'evidence.durability before-response'),
      ...lack(evidence.review === 'none', 'evidence.review with a cadence and reviewers; there is none'),
    ],
    standing: () => [
      { part: 'logging', strength: 'enforced' },
      { part: 'review', strength: 'observed' },
    ],
  },
  'audited-system': {
    means: 'the system that was audited is the one that runs, and only named signers can change it',
    needs: 'system; succession is part of the measured policy, "none" included',
    enforcer: 'launch measurement',
    lacks: () => [],
    standing: () => [{ part: 'system', strength: 'measured' }],
  },
  'authorised-access': {
    means: 'only authenticated and authorised callers are answered',
    needs: 'access.cedar; an identity for each caller of each method; no method open to anyone',
    enforcer: 'access broker',
    lacks: (policy) => [
      ...lack(policy.access.cedar.trim() === '', 'access.cedar; it is empty'),
      ...lack(Object.keys(policy.access.identities).length === 0, 'access.identities; there is none'),
      ...methodsOf(policy)
        .filter(([, rule]) => rule.callers.includes('anyone'))
        .map(([id]) => `authenticated callers; ${id} answers anyone`),
    ],
    standing: enforced('access'),
  },
  'bounded-resources': {
    means: 'no request uses more memory, processor or time than stated',
    needs: 'governance.resources',
    enforcer: 'cgroups, governor',
    lacks: ({ governance }) => lack(governance.resources === 'none', 'governance.resources; it is none'),
    standing: enforced('resources'),
  },
  'deleted-after-retention': {
    means: 'personal data is destroyed when its retention has passed',
    needs: 'a retention on every collection that holds a personal category',
    enforcer: 'storage broker (crypto-shredding)',
    lacks: (policy, claim) => {
      const personal = scopeOf(policy, claim).filter((category) => isPersonal(policy, category));
      const kept = collectionsOf(policy, personal);
      return [
        ...lack(personal.length === 0, `a personal category; ${wording(claim)} has no subjects`),
        ...lack(personal.length > 0 && kept.length === 0, `a collection; none holds ${wording(claim)}`),
        ...kept
          .filter((id) => policy.collections[id]?.retention === 'unlimited')
          .map((id) => `a retention on collections.${id}; it is unlimited`),
      ];
    },
    standing: enforced('deletion'),
  },
  'encryption-at-rest': {
    means: 'data is encrypted before it is stored, under a key sealed to this system',
    needs: 'a collection that holds the data; every collection is encrypted',
    enforcer: 'storage broker',
    lacks: (policy, claim) =>
      lack(collectionsOf(policy, scopeOf(policy, claim)).length === 0, `a collection; none holds ${wording(claim)}`),
    standing: enforced('encryption'),
  },
  'local-first': {
    means: 'requests are answered inside the system, with few calls to others',
    needs: 'governance.sovereignty',
    enforcer: 'governor',
    lacks: ({ governance }) => lack(governance.sovereignty === 'none', 'governance.sovereignty; it is none'),
    standing: enforced('sovereignty'),
  },
  'no-leakage': {
    means: 'text that looks like personal or secret data does not leave, whatever its label',
    needs: 'governance.leaks',
    enforcer: 'governor',
    lacks: ({ governance }) => lack(governance.leaks === 'none', 'governance.leaks; it is none'),
    standing: enforced('leak detection'),
  },
  'no-undisclosed-recipients': {
    means: 'nobody outside gets data but the subprocessors listed, and of each what is listed',
    needs: 'subprocessors; it is the full list, and may be empty',
    enforcer: 'egress broker, kernel firewall, namespaces',
    lacks: () => [],
    standing: enforced('recipients'),
  },
  residency: {
    means: 'data stays in the regions listed',
    needs: 'residency with regions and a witness; the region of every subprocessor among them',
    enforcer: 'boot check of the witness; egress broker',
    lacks: ({ residency }) =>
      residency === 'none'
        ? ['regions and a witness; residency is none']
        : lack(residency.witness === 'none', 'a witness; nobody asserts where the system runs'),
    standing: () => [
      { part: 'location', strength: 'asserted' },
      { part: 'egress', strength: 'enforced' },
    ],
  },
  'subprocessors-assured': {
    means: 'every subprocessor is vouched for, by a document in date or by its own attestation',
    needs: 'for each subprocessor an assurance or an attested identity',
    enforcer: 'egress broker: nothing is sent after validUntil',
    lacks: ({ subprocessors }) =>
      Object.entries(subprocessors)
        .filter(([, { assurance, identity }]) => assurance === 'none' && identity.attested === undefined)
        .map(([id]) => `an assurance or an attested identity for subprocessors.${id}`),
    standing: ({ subprocessors }) =>
      Object.values(subprocessors).every(({ identity }) => identity.attested !== undefined)
        ? [{ part: 'subprocessors', strength: 'enforced' }]
        : [
            { part: 'document', strength: 'asserted' },
            { part: 'date', strength: 'enforced' },
          ],
  },
};

/** The strength of a kind of claim under a policy: that of its weakest part. */
export function strengthOf(kind: ClaimKind, policy: Policy): Strength {
  const parts = CLAIM_KINDS[kind].standing(policy).map(({ strength }) => STRENGTHS.indexOf(strength));
  return STRENGTHS[Math.max(...parts)] ?? 'asserted';
}

/** The categories that a claim is about. */
export function scopeOf(policy: Policy, { data }: Claim): readonly Category[] {
  return data === 'all' ? Object.keys(policy.data) : data;
}

/** Whether a category, or one above or below it, is about people. */
export function isPersonal(policy: Policy, category: Category): boolean {
  return Object.entries(policy.data).some(
    ([word, { subjects }]) => subjects.length > 0 && overlaps([word], [category]),
  );
}

/** The collections that hold any of some data. */
export function collectionsOf(policy: Policy, data: readonly Category[]): string[] {
  return Object.keys(policy.collections).filter((id) => overlaps(policy.collections[id]?.holds ?? [], data));
}

/** Every rule with the full name of its method. */
export function methodsOf(policy: Policy): [`${string}/${string}`, Policy['services'][string][string]][] {
  return Object.entries(policy.services).flatMap(([service, methods]) =>
    Object.entries(methods).map(([method, rule]): [`${string}/${string}`, typeof rule] => [
      `${service}/${method}`,
      rule,
    ]),
  );
}

function enforced(part: string): () => readonly Standing[] {
  return () => [{ part, strength: 'enforced' }];
}

function lack(missing: boolean, what: string): string[] {
  return missing ? [what] : [];
}

function wording({ data }: Claim): string {
  return data === 'all' ? 'any data' : data.join(' or ');
}
