/**
 * The kinds of claim: the least a policy must have to back one, its enforcer, and how strongly it
 * then holds.
 */

import { type Category, overlaps } from './category.ts';
import {
  type Claim,
  type ClaimKind,
  LEAK_DETECTORS,
  LEAK_SURFACES,
  type LeakDetector,
  type Override,
  type Policy,
} from './policy.ts';
import { bytesOf, millisecondsOf, secondsOf } from './quantity.ts';

/**
 * How a claim is known to hold.
 *
 * - `measured`: it follows from the launch measurement.
 * - `enforced`: the measured runtime refuses the violation.
 * - `observed`: the runtime records the violation and cannot prevent it.
 * - `asserted`: a named third party signed it.
 */
export type Strength = 'measured' | 'enforced' | 'observed' | 'asserted';

/**
 * Strengths from the strongest to the weakest.
 *
 * @example
 * ```ts
 * import { STRENGTHS } from '@enclaim/policy-schema/claims';
 *
 * STRENGTHS.indexOf('measured') < STRENGTHS.indexOf('asserted'); // true: strongest first
 * ```
 */
export const STRENGTHS: readonly Strength[] = ['measured', 'enforced', 'observed', 'asserted'];

/** One part of a claim and its strength: a claim of two parts is as strong as its weaker one. */
export interface Standing {
  readonly part: string;
  readonly strength: Strength;
}

/** A kind of claim. */
export interface ClaimRule {
  /** The statement of the claim, for people. */
  readonly means: string;
  /** Contents that the policy must have, at the least. */
  readonly needs: string;
  readonly enforcer: string;
  /**
   * Contents that the policy lacks: empty if it backs the claim. Each completes "<kind> needs …".
   */
  readonly lacks: (policy: Policy, claim: Claim) => string[];
  /**
   * Coverage of a claim of this kind under a policy that backs it, in figures and names, and what
   * it leaves out.
   */
  readonly covers: (policy: Policy, claim: Claim) => string;
  readonly standing: (policy: Policy) => readonly Standing[];
}

/**
 * The least that backs a claim. A policy may say less; then it does not make the claim. Each has
 * its reason in docs/policy/claims.md.
 */
export const LEAST = {
  /** The longest quarter. */
  reviewEvery: 'P92D',
  /** The period that a yearly audit looks back on. */
  logKept: 'P1Y',
  /** A successor has to stand in the log for long enough to be seen there. */
  notice: 'P1D',
  /** One worker's room, several times over. */
  memory: '1GiB',
  cpu: '1min',
  /** Streams included. */
  wall: '60min',
  inFlight: 4096,
  /** At 100 nothing is ever refused. */
  pressure: 90,
  /** The longest that laws of the Union want records of patients kept. */
  retention: 'P30Y',
  /** Half of the weighted work: what merely passes a request on to an unattested peer scores 20. */
  minScore: 50,
  /** The one bound on a handler that pads the score by writing records. */
  externalCalls: 4,
  /**
   * How far ahead of a check an override may reach. An exception that is to last longer is a rule
   * of the policy, not a temporary hole.
   */
  override: 'P366D',
  /** How far ahead a document may vouch: certificates of ISO 27001 run for three years. */
  assured: 'P1096D',
} as const;

/**
 * Detectors that look for a pattern. `exact-match` looks for what records hold, and finds nothing
 * if there are none.
 */
const PATTERNS: readonly LeakDetector[] = LEAK_DETECTORS.filter((detector) => detector !== 'exact-match');

/**
 * Every kind of claim.
 *
 * @example
 * ```ts
 * import { CLAIM_KINDS } from '@enclaim/policy-schema/claims';
 *
 * console.log(CLAIM_KINDS['access-logged'].needs);
 * ```
 */
export const CLAIM_KINDS: Readonly<Record<ClaimKind, ClaimRule>> = {
  'access-logged': {
    means: 'every access is on record before its response leaves, and somebody looks at the record',
    needs: `evidence.durability before-response; evidence.review at least every ${LEAST.reviewEvery} and its reviewers; evidence.retention of at least ${LEAST.logKept}`,
    enforcer: 'evidence log; nothing watches for the reviews, which are the word of the keys named',
    lacks: ({ evidence: { durability, review, retention } }) => [
      ...lack(durability !== 'before-response', 'evidence.durability before-response'),
      ...lack(review === 'none', 'evidence.review with a cadence and reviewers; there is none'),
      ...(review === 'none'
        ? []
        : lack(
            secondsOf(review.every) > secondsOf(LEAST.reviewEvery),
            `evidence.review.every of at most ${LEAST.reviewEvery}; it is ${review.every}`,
          )),
      ...lack(
        retention !== 'unlimited' && secondsOf(retention) < secondsOf(LEAST.logKept),
        `evidence.retention of at least ${LEAST.logKept}; it is ${retention}`,
      ),
    ],
    covers: ({ evidence: { retention, review } }) =>
      `each call is on stable storage before its response leaves, and is kept ${retention === 'unlimited' ? 'without an end' : `for ${retention}`}; ` +
      (review === 'none' ? 'nobody reviews the log' : `reviewed every ${review.every} by ${count(review.by, 'key')}`),
    standing: () => [
      { part: 'logging', strength: 'enforced' },
      { part: 'review', strength: 'asserted' },
    ],
  },
  'audited-system': {
    means: 'the system that was audited is the one that runs, and only named signers can change it',
    needs: `system; succession: none, or a notice of at least ${LEAST.notice}`,
    enforcer: 'launch measurement',
    lacks: ({ succession }) =>
      succession === 'none'
        ? []
        : lack(
            secondsOf(succession.notice) < secondsOf(LEAST.notice),
            `succession.notice of at least ${LEAST.notice}; it is ${succession.notice}`,
          ),
    covers: ({ succession }) =>
      succession === 'none'
        ? 'the image and this policy; nothing succeeds it'
        : `the image and this policy; stored data passes to another by ${succession.threshold} of ${count(succession.signers, 'signature')}, to a weaker one or another image ${succession.notice} ahead, and to another address by one`,
    standing: () => [{ part: 'system', strength: 'measured' }],
  },
  'authorised-access': {
    means: 'only authenticated and authorised callers are answered',
    needs:
      'a method; access.cedar that does not permit all to everybody; an identity for each caller of each method; no method open to anyone',
    enforcer: 'access broker',
    lacks: (policy) => [
      ...lack(methodsOf(policy).length === 0, 'a method; no service has a rule'),
      ...lack(policy.access.cedar.trim() === '', 'access.cedar; it is empty'),
      // layer: access tells callers apart
      ...lack(permitsAll(policy.access.cedar), 'access.cedar that tells callers apart; it permits all to everybody'),
      ...lack(Object.keys(policy.access.identities).length === 0, 'access.identities; there is none'),
      ...methodsOf(policy)
        .filter(([, rule]) => rule.callers.includes('anyone'))
        .map(([id]) => `authenticated callers; ${id} answers anyone`),
    ],
    covers: (policy) =>
      `${count(methodsOf(policy), 'method')}, for callers known as ${Object.keys(policy.access.identities).join(', ')}, as the rules and Cedar text of the policy say`,
    standing: enforced('access'),
  },
  'bounded-resources': {
    means: 'no request uses more memory, processor or time than stated',
    needs: `governance.resources with memory at most ${LEAST.memory}, cpu ${LEAST.cpu}, wall ${LEAST.wall}, inFlight ${LEAST.inFlight}, pressure ${LEAST.pressure}`,
    enforcer: 'cgroups, governor',
    lacks: ({ governance: { resources } }) => {
      if (resources === 'none') return ['governance.resources; it is none'];
      const { memory, cpu, wall, inFlight, pressure } = resources;
      const at = (name: string, over: boolean, most: unknown, is: unknown): string[] =>
        lack(over, `governance.resources.${name} of at most ${most}; it is ${is}`);
      return [
        ...at('memory', bytesOf(memory) > bytesOf(LEAST.memory), LEAST.memory, memory),
        ...at('cpu', millisecondsOf(cpu) > millisecondsOf(LEAST.cpu), LEAST.cpu, cpu),
        ...at('wall', millisecondsOf(wall) > millisecondsOf(LEAST.wall), LEAST.wall, wall),
        ...at('inFlight', inFlight > LEAST.inFlight, LEAST.inFlight, inFlight),
        ...at('pressure.memory', pressure.memory > LEAST.pressure, LEAST.pressure, pressure.memory),
        ...at('pressure.cpu', pressure.cpu > LEAST.pressure, LEAST.pressure, pressure.cpu),
      ];
    },
    covers: ({ governance: { resources } }) =>
      resources === 'none'
        ? 'nothing'
        : `a request has at most ${resources.memory}, ${resources.cpu} of processor and ${resources.wall}; ${resources.inFlight} at once; none is admitted above a pressure of ${resources.pressure.memory} (memory) or ${resources.pressure.cpu} (cpu)`,
    standing: enforced('resources'),
  },
  'deleted-after-retention': {
    means: 'personal data is destroyed when its retention has passed',
    needs: `a retention of at most ${LEAST.retention} on every collection that holds a personal category; storage.epoch where one is sealed`,
    enforcer: 'storage broker (crypto-shredding); copies of the disk: the keeper of the epoch keys',
    lacks: (policy, claim) => {
      const personal = personalIn(policy, claim);
      const kept = collectionsOf(policy, personal);
      return [
        ...lack(personal.length === 0, `a personal category; ${wording(claim)} has no subjects`),
        ...lack(personal.length > 0 && kept.length === 0, `a collection; none holds ${wording(claim)}`),
        ...lack(
          policy.storage === undefined && sealedOf(policy, kept).length > 0,
          'storage.epoch; without it, what was deleted stays readable on older copies of the disk until the next boot',
        ),
        ...kept.flatMap((id) => {
          const retention = policy.collections[id]?.retention ?? 'unlimited';
          if (retention === 'unlimited') return [`a retention on collections.${id}; it is unlimited`];
          return lack(
            secondsOf(retention) > secondsOf(LEAST.retention),
            `a retention of at most ${LEAST.retention} on collections.${id}; it is ${retention}`,
          );
        }),
      ];
    },
    covers: (policy, claim) => {
      const kept = collectionsOf(policy, personalIn(policy, claim));
      const ends = kept.map((id) => `${id} after ${policy.collections[id]?.retention}`).join(', ');
      const final =
        policy.storage === undefined || sealedOf(policy, kept).length === 0
          ? ''
          : `; from older copies of the disk within ${policy.storage.epoch} more, while the system runs`;
      return `records of ${ends}${final}; not what callers and subprocessors were given`;
    },
    // That no older key can be had again is the word of what keeps it: a TPM that the host runs can
    // be put back.
    standing: (policy) => [
      { part: 'deletion', strength: 'enforced' },
      ...(sealedOf(policy, Object.keys(policy.collections)).length === 0
        ? []
        : [{ part: 'older copies of the disk', strength: 'asserted' } as const]),
    ],
  },
  'encryption-at-rest': {
    means: 'data is encrypted before it is stored, under a key sealed to this system',
    needs: 'a sealed collection that holds the data; every collection is encrypted',
    enforcer: 'storage broker',
    lacks: (policy, claim) => {
      const held = collectionsOf(policy, scopeOf(policy, claim));
      return [
        ...lack(held.length === 0, `a collection; none holds ${wording(claim)}`),
        ...lack(
          held.length > 0 && sealedOf(policy, held).length === 0,
          `a sealed collection; ${held.join(', ')} ${held.length === 1 ? 'is' : 'are'} volatile, so nothing is at rest`,
        ),
      ];
    },
    covers: (policy, claim) => {
      const keeper = policy.storage?.keeper;
      const where = keeper === undefined ? '' : `; where a machine has no TPM, ${keeper.address} keeps the key`;
      return `records of ${sealedOf(policy, collectionsOf(policy, scopeOf(policy, claim))).join(', ')}${where}`;
    },
    // A host that runs the TPM in software, or reaches it before any firmware, can make it show
    // these registers, and have the key.
    standing: () => [
      { part: 'encryption', strength: 'enforced' },
      { part: 'who has the key', strength: 'asserted' },
    ],
  },
  'local-first': {
    means: 'requests are answered inside the system, with few calls to others',
    needs: `governance.sovereignty with maxExternalCalls 0, or at most ${LEAST.externalCalls} and a minScore of at least ${LEAST.minScore}`,
    enforcer: 'governor',
    lacks: ({ governance: { sovereignty } }) => {
      if (sovereignty === 'none') return ['governance.sovereignty; it is none'];
      const { minScore, maxExternalCalls } = sovereignty;
      if (maxExternalCalls === 0) return [];
      return [
        ...lack(
          minScore < LEAST.minScore,
          `governance.sovereignty.minScore of at least ${LEAST.minScore}; it is ${minScore}`,
        ),
        ...lack(
          maxExternalCalls > LEAST.externalCalls,
          `governance.sovereignty.maxExternalCalls of at most ${LEAST.externalCalls}; it is ${maxExternalCalls}`,
        ),
      ];
    },
    covers: ({ governance: { sovereignty } }) =>
      sovereignty === 'none'
        ? 'nothing'
        : `a request makes at most ${sovereignty.maxExternalCalls} calls to others, and none that brings its score under ${sovereignty.minScore} percent`,
    standing: enforced('sovereignty'),
  },
  'no-leakage': {
    means: 'text that looks like personal or secret data is looked for wherever something leaves, whatever its label',
    needs: `governance.leaks with the detectors ${PATTERNS.join(', ')} on ${LEAK_SURFACES.join(', ')}`,
    enforcer: 'governor',
    lacks: ({ governance: { leaks } }) => {
      if (leaks === 'none') return ['governance.leaks; it is none'];
      return [
        // layer: detectors of every pattern
        ...PATTERNS.filter((detector) => !leaks.detectors.includes(detector)).map(
          (detector) => `${detector} among governance.leaks.detectors`,
        ),
        // layer: surfaces that are looked at
        ...LEAK_SURFACES.filter((surface) => !leaks.on.includes(surface)).map(
          (surface) => `${surface} among governance.leaks.on; what leaves there is not looked at`,
        ),
      ];
    },
    covers: ({ governance: { leaks } }) =>
      leaks === 'none'
        ? 'nothing'
        : `${leaks.detectors.join(', ')} on ${leaks.on.join(', ')}, in the encodings promised of detectors; others pass`,
    // A net and not a wall: text that a handler encodes in a way that no detector promises to know
    // leaves, and is on record as sent.
    standing: () => [
      { part: 'patterns in the listed encodings', strength: 'enforced' },
      { part: 'other encodings', strength: 'observed' },
    ],
  },
  'no-undisclosed-recipients': {
    means: 'nobody outside but callers gets data but the subprocessors listed, and of each what is listed',
    needs: 'subprocessors; it is the full list, and may be empty',
    enforcer: 'egress broker, kernel firewall, namespaces',
    lacks: () => [],
    covers: ({ subprocessors }) =>
      `besides callers: ${
        Object.entries(subprocessors)
          .map(([id, { address, receives }]) => `${id} (${address}) gets ${receives.join(', ') || 'nothing'}`)
          .join('; ') || 'nobody'
      }`,
    standing: enforced('recipients'),
  },
  residency: {
    means: 'data stays in the regions listed',
    needs:
      'residency with regions and a witness other than the owner; the region of every subprocessor among the regions',
    enforcer: 'boot check of the witness; egress broker',
    lacks: ({ residency, system: { owner } }) => {
      if (residency === 'none') return ['regions and a witness; residency is none'];
      const { witness } = residency;
      return [
        ...lack(witness === 'none', 'a witness; nobody asserts where the system runs'),
        ...lack(
          witness !== 'none' && witness.key === owner.key,
          'a witness other than the owner; residency.witness.key is system.owner.key',
        ),
      ];
    },
    covers: ({ residency }) =>
      residency === 'none'
        ? 'nothing'
        : `the system and its subprocessors are in ${residency.regions.join(', ')}, as ${residency.witness === 'none' ? 'nobody' : residency.witness.name} and this list say; callers may be anywhere`,
    standing: () => [
      { part: 'location', strength: 'asserted' },
      { part: 'egress', strength: 'enforced' },
    ],
  },
  'subprocessors-assured': {
    means: 'every subprocessor is vouched for, by a document in date or by its own attestation',
    needs: `a subprocessor; for each an attested identity, or an assurance that ends within ${LEAST.assured} of the day of the check`,
    enforcer: 'egress broker: nothing is sent after validUntil',
    lacks: ({ subprocessors }) => [
      ...lack(Object.keys(subprocessors).length === 0, 'a subprocessor; there is none'),
      ...Object.entries(subprocessors)
        .filter(([, { assurance, identity }]) => assurance === 'none' && identity.attested === undefined)
        .map(([id]) => `an assurance or an attested identity for subprocessors.${id}`),
    ],
    covers: ({ subprocessors }) =>
      Object.entries(subprocessors)
        .map(([id, { assurance, identity }]) => {
          const attested = identity.attested === undefined ? [] : ['its attestation'];
          const document = assurance === 'none' ? [] : [`${assurance.kind} until ${assurance.validUntil}`];
          return `${id} by ${[...attested, ...document].join(' and ')}`;
        })
        .join(', '),
    standing: ({ subprocessors }) =>
      Object.values(subprocessors).every(({ identity }) => identity.attested !== undefined)
        ? [{ part: 'subprocessors', strength: 'enforced' }]
        : [
            { part: 'document', strength: 'asserted' },
            { part: 'date', strength: 'enforced' },
          ],
  },
};

/**
 * The strength of a kind of claim under a policy: that of its weakest part.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy } from '@enclaim/policy-schema';
 * import { strengthOf } from '@enclaim/policy-schema/claims';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * for (const { kind } of policy.claims) console.log(kind, strengthOf(kind, policy));
 * ```
 */
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

/**
 * Whether a method answers on attested connections alone.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy } from '@enclaim/policy-schema';
 * import { isAttestedOnly } from '@enclaim/policy-schema/admission';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * isAttestedOnly(policy, 'clinic.v1.Intake/Read');
 * ```
 */
export function isAttestedOnly(policy: Policy, id: string): boolean {
  const { attested, identities } = policy.access;
  if (attested === undefined || typeof attested === 'object') return attested?.some((each) => each === id) ?? false;
  const rule = methodsOf(policy).find(([method]) => method === id)?.[1];
  if (attested === 'all' || rule === undefined) return true;
  // The caller's identity is part of what a request says.
  const callers = rule.callers.flatMap((name) => (Object.hasOwn(identities, name) ? [identities[name]] : []));
  const data = [...rule.accepts, ...rule.returns, ...callers.flatMap((caller) => caller?.category ?? [])];
  return data.some((category) => isPersonal(policy, category));
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

/** Backing that an override can suspend, by the kind of claim that rests on it. */
const SUSPENDED_BY: Readonly<Partial<Record<ClaimKind, string>>> = {
  'bounded-resources': 'resources.',
  'local-first': 'sovereignty.',
  'no-leakage': 'leaks.',
  'subprocessors-assured': 'assurance.',
};

/** The overrides that suspend something that a kind of claim rests on. */
export function suspending(kind: ClaimKind, { overrides }: Policy): readonly Override[] {
  const prefix = SUSPENDED_BY[kind];
  return prefix === undefined ? [] : overrides.filter(({ suspends }) => suspends.startsWith(prefix));
}

/**
 * Coverage of a claim, and what an override suspends of it for now: the sentence beside the claim's
 * own statement.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy } from '@enclaim/policy-schema';
 * import { coverageOf } from '@enclaim/policy-schema/claims';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * for (const claim of policy.claims) console.log(claim.id, coverageOf(policy, claim));
 * ```
 */
export function coverageOf(policy: Policy, claim: Claim): string {
  const holes = suspending(claim.kind, policy).map(
    ({ id, suspends, on, expires }) => `; ${id} suspends ${suspends} on ${on} until ${expires}`,
  );
  return CLAIM_KINDS[claim.kind].covers(policy, claim) + holes.join('');
}

function personalIn(policy: Policy, claim: Claim): readonly Category[] {
  return scopeOf(policy, claim).filter((category) => isPersonal(policy, category));
}

function sealedOf({ collections }: Policy, ids: readonly string[]): string[] {
  return ids.filter((id) => collections[id]?.storage === 'sealed');
}

/**
 * Whether Cedar text permits everything: a head without a constraint, no condition after it, and
 * nothing forbidden.
 */
function permitsAll(cedar: string): boolean {
  // Text in quotes and comments could hold anything, a permit included.
  const bare = cedar.replace(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*/g, (part) => (part.startsWith('"') ? '""' : ''));
  return /\bpermit\s*\(\s*principal\s*,\s*action\s*,\s*resource\s*,?\s*\)\s*;/.test(bare) && !/\bforbid\b/.test(bare);
}

function count(members: readonly unknown[], what: string): string {
  return `${members.length} ${what}${members.length === 1 ? '' : 's'}`;
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
