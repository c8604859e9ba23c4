/**
 * The claims that each decision of a system serves: records name them, and readers derive controls
 * from them (docs/reference/formats.md, "Record").
 */

import { overlaps } from './category.ts';
import { methodsOf, scopeOf } from './claim.ts';
import type { Claim, ClaimKind, Policy, Rule } from './policy.ts';

/** Ids of claims, in the policy's order. */
export type ClaimIds = readonly string[];

/** A decision that lets something happen. */
type Allowance = 'answer' | 'stream' | 'message';

/**
 * Allowances that show each kind of claim to be held: its enforcer decided about each of them. The
 * record of a boot shows every claim, because admission found each one backed and held. A kind
 * without an entry has no decision of its own while calls run, or this runtime refuses it.
 */
const SHOWN_BY: Readonly<Record<ClaimKind, readonly Allowance[]>> = {
  'access-logged': ['answer', 'stream'],
  'audited-system': [],
  'authorised-access': [],
  'bounded-resources': ['answer'],
  'deleted-after-retention': [],
  'encryption-at-rest': [],
  'local-first': ['answer', 'message'],
  'no-leakage': ['answer', 'stream', 'message'],
  'no-undisclosed-recipients': ['answer', 'stream', 'message'],
  residency: [],
  'subprocessors-assured': ['message'],
};

/** The claims that decisions about one method's calls serve. */
export interface MethodClaims {
  /** A call that ended with its handler's answer. */
  readonly answer: ClaimIds;
  /** A stream whose messages leave from now on. */
  readonly stream: ClaimIds;
  /** A message to a subprocessor. */
  readonly message: ClaimIds;
  /** A refusal that upholds claims of a kind, while the call goes on. */
  refusal(kind: ClaimKind | undefined): ClaimIds;
  /** A call that ended by such a refusal, or by an error: the access is on record. */
  end(kind: ClaimKind | undefined): ClaimIds;
}

/** The claims that a policy's decisions serve. */
export interface ServedClaims {
  /** The beginning of a boot: admission found all of them held. */
  readonly boot: ClaimIds;
  /** A new epoch of stored state: a fresh key, and what was deleted is final. */
  readonly epoch: ClaimIds;
  /** Refusals of many calls, which no record counts as an access. */
  refusals(kind: ClaimKind | undefined): ClaimIds;
  readonly methods: ReadonlyMap<string, MethodClaims>;
}

/**
 * The claims that each decision under a policy serves. A claim about some data is served by calls
 * of methods that handle any of it.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parsePolicy } from '@enclaim/policy-schema';
 * import { servedClaims } from '@enclaim/policy-schema/admission';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * for (const [method, { answer }] of servedClaims(policy).methods) console.log(method, answer);
 * ```
 */
export function servedClaims(policy: Policy): ServedClaims {
  const { claims } = policy;
  return {
    boot: claims.map(({ id }) => id),
    epoch: idsOf(claims, ({ kind }) => kind === 'deleted-after-retention' || kind === 'encryption-at-rest'),
    refusals: byKind(claims, (kind) => [kind]),
    methods: new Map(methodsOf(policy).map(([method, rule]) => [method, methodClaims(policy, method, rule)])),
  };
}

function methodClaims(policy: Policy, method: string, rule: Rule): MethodClaims {
  const handled = [...handledBy(policy, rule), ...releasedBy(policy, method)];
  const claims = policy.claims.filter((claim) => claim.data === 'all' || overlaps(scopeOf(policy, claim), handled));
  const shown = (allowance: Allowance): ClaimIds => idsOf(claims, ({ kind }) => SHOWN_BY[kind].includes(allowance));
  return {
    answer: shown('answer'),
    stream: shown('stream'),
    message: shown('message'),
    refusal: byKind(claims, (kind) => [kind]),
    end: byKind(claims, (kind) => [kind, 'access-logged']),
  };
}

/** Data that releases of a method build their messages of. */
function releasedBy({ collections, declassify }: Policy, method: string): string[] {
  return declassify
    .filter((release) => release.method === method)
    .flatMap(({ build }) => Object.values(build))
    .flatMap((source) => {
      const [from, name = ''] = source.split('.');
      return from === '$record' ? (collections[name]?.holds ?? []) : [];
    });
}

/** Data that calls of a method can touch otherwise. */
function handledBy({ access, collections, subprocessors }: Policy, rule: Rule): string[] {
  const { accepts, callers, reads, returns, sends, stores } = rule;
  return [
    ...accepts,
    ...returns,
    ...callers.flatMap((name) => access.identities[name]?.category ?? []),
    ...[...reads, ...stores].flatMap((name) => collections[name]?.holds ?? []),
    ...sends.flatMap((name) => subprocessors[name]?.receives ?? []),
  ];
}

/** Makes every answer once, because one is asked for at each call. */
function byKind(
  claims: readonly Claim[],
  kinds: (kind: ClaimKind | undefined) => readonly (ClaimKind | undefined)[],
): (kind: ClaimKind | undefined) => ClaimIds {
  const made = new Map<ClaimKind | undefined, ClaimIds>(
    [undefined, ...(Object.keys(SHOWN_BY) as ClaimKind[])].map((kind) => [
      kind,
      idsOf(claims, (claim) => kinds(kind).includes(claim.kind)),
    ]),
  );
  return (kind) => made.get(kind) ?? [];
}

function idsOf(claims: readonly Claim[], which: (claim: Claim) => boolean): ClaimIds {
  return claims.filter(which).map(({ id }) => id);
}

/**
 * Controls that claims of a policy answer, sorted: those of a record are the ones of its claims.
 *
 * @param claims ids, as a record names them
 * @throws RangeError if the policy makes no such claim, so that the record is not of this policy
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { decodePolicy } from '@enclaim/policy-schema';
 * import { controlsOf } from '@enclaim/policy-schema/admission';
 *
 * const policy = decodePolicy(await readFile('policy.json'));
 * console.log(controlsOf(policy, ['access'])); // ['soc2/cc6.1']
 * ```
 */
export function controlsOf(policy: Policy, claims: ClaimIds): string[] {
  const controls = claims.flatMap((id) => {
    const claim = policy.claims.find((each) => each.id === id);
    if (claim === undefined) throw new RangeError(`the policy makes no claim ${JSON.stringify(id)}`);
    return claim.controls;
  });
  return [...new Set(controls)].sort();
}
