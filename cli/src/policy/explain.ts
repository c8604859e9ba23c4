/**
 * Text of `enclaim policy explain` about claims: about one, or about all of a policy and what none
 * of them covers.
 */

import { type Policy, policyDigest } from '@enclaim/policy-schema';
import { type Claim, type ClaimKind, covers } from '@enclaim/policy-schema/admission';
import { CLAIM_KINDS, CONTROLS, coverageOf, type Standing, strengthOf } from '@enclaim/policy-schema/claims';
import { HELD_CLAIMS } from '@enclaim/runtime/hindrances';
import ansis from 'ansis';
import { UsageError } from '../usage-error.ts';

/** All claims of a policy, and what is left out. */
export interface ClaimsOverview {
  readonly policy: string;
  readonly claims: readonly {
    readonly id: string;
    readonly kind: ClaimKind;
    readonly statement: string;
    /** Strength of its weakest part; null if no boot serves a policy with this claim. */
    readonly strength: string | null;
    readonly parts: readonly Standing[];
    readonly data: Claim['data'];
    readonly covers: string;
    readonly controls: readonly string[];
  }[];
  readonly controls: readonly {
    readonly control: string;
    readonly title: string;
    /** Claims that answer it, from the strongest to the weakest. */
    readonly claims: readonly { readonly id: string; readonly strength: string | null }[];
  }[];
  /** Parts of the policy that no claim is about. */
  readonly uncovered: {
    readonly categories: readonly string[];
    readonly methods: readonly string[];
    readonly collections: readonly string[];
  };
  /** Kinds of claims that the policy does not make. */
  readonly unclaimed: readonly ClaimKind[];
}

/**
 * Explains a kind, or the claims of a policy with an id.
 * @throws UsageError for a word that is neither
 */
export function explainClaims(word: string, kind: ClaimKind | undefined, policy: Policy | undefined): string {
  const claims = policy?.claims.filter((claim) => claim.id === word || claim.kind === kind) ?? [];
  const about = kind ?? claims[0]?.kind;
  if (about === undefined)
    throw new UsageError(`no claim and no kind of claim "${word}"; kinds: ${Object.keys(CLAIM_KINDS).join(', ')}`);
  const { means, needs, enforcer, standing } = CLAIM_KINDS[about];
  const lines = [ansis.bold(about), `means     ${means}`, `needs     ${needs}`];
  // If no boot serves a policy with the kind, its enforcer means nothing.
  if (!HELD_CLAIMS.has(about))
    lines.push('enforced  by nothing yet: the runtime refuses a policy with this claim at boot');
  else {
    lines.push(`enforced  ${enforcer}`);
    if (policy) lines.push(...standing(policy).map(({ part, strength }: Standing) => `strength  ${part}: ${strength}`));
  }
  return [...lines, ...claims.flatMap((claim) => ['', ...explainClaim(claim, policy)])].join('\n');
}

function explainClaim(claim: Claim, policy: Policy | undefined): string[] {
  const { id, statement, data, controls } = claim;
  return [
    `${ansis.bold(id)}: ${statement}`,
    `about     ${data === 'all' ? 'all data' : data.join(', ')}`,
    ...(policy ? [`covers    ${coverageOf(policy, claim)}`] : []),
    ...controls.map((control) => `answers   ${control} ${ansis.dim(titleOf(control, policy))}`),
  ];
}

function titleOf(control: string, policy: Policy | undefined): string {
  return CONTROLS.get(control) ?? policy?.controls[control] ?? 'not known';
}

/** Everything that a policy claims, by claim and by control, and what is left out. */
export function overviewOf(policy: Policy): ClaimsOverview {
  const strength = (kind: ClaimKind): string | null => (HELD_CLAIMS.has(kind) ? strengthOf(kind, policy) : null);
  const claims = policy.claims.map((claim) => {
    const { id, kind, statement, data, controls } = claim;
    const held = HELD_CLAIMS.has(kind);
    const parts = held ? CLAIM_KINDS[kind].standing(policy) : [];
    return {
      ...{ id, kind, statement, strength: strength(kind), parts, data },
      ...{ covers: coverageOf(policy, claim), controls },
    };
  });
  const answered = [...new Set(claims.flatMap(({ controls }) => controls))].sort();
  const made = new Set(claims.map(({ kind }) => kind));
  return {
    policy: policyDigest(policy),
    claims: claims.sort((a, b) => rank(a.strength) - rank(b.strength)),
    controls: answered.map((control) => {
      const by = claims.filter(({ controls }) => controls.includes(control));
      const title = titleOf(control, policy);
      return { control, title, claims: by.map(({ id, strength }) => ({ id, strength })) };
    }),
    uncovered: uncoveredOf(policy),
    unclaimed: (Object.keys(CLAIM_KINDS) as ClaimKind[]).filter((kind) => !made.has(kind)),
  };
}

const RANKS: readonly (string | null)[] = ['measured', 'enforced', 'observed', 'asserted', null];

function rank(strength: string | null): number {
  return RANKS.indexOf(strength);
}

/**
 * Lists what no claim covers. A method or a collection is listed if any of its data is uncovered: a
 * claim about the rest says nothing about that data.
 */
function uncoveredOf({ data, services, collections, claims }: Policy): ClaimsOverview['uncovered'] {
  if (claims.some((claim) => claim.data === 'all')) return { categories: [], methods: [], collections: [] };
  const named = claims.flatMap((claim) => (claim.data === 'all' ? [] : claim.data));
  const categories = Object.keys(data)
    .filter((category) => !covers(named, [category]))
    .sort();
  const isOut = (of: readonly string[]): boolean => of.length === 0 || categories.some((out) => covers(of, [out]));
  const rules = Object.entries(services).flatMap(([service, methods]) =>
    Object.entries(methods).map(([method, rule]) => [`${service}/${method}`, rule] as const),
  );
  return {
    categories,
    methods: rules
      .filter(([, { accepts, returns }]) => isOut([...accepts, ...returns]))
      .map(([id]) => id)
      .sort(),
    collections: Object.entries(collections)
      .filter(([, { holds }]) => isOut(holds))
      .map(([id]) => id)
      .sort(),
  };
}

/** The overview as text for people. */
export function formatOverview({ policy, claims, controls, uncovered, unclaimed }: ClaimsOverview): string {
  const shown = (strength: string | null): string => strength ?? 'not held';
  const wide = (words: readonly string[]): number => Math.max(0, ...words.map(({ length }) => length)) + 2;
  const [ids, kinds] = [wide(claims.map(({ id }) => id)), wide(claims.map(({ kind }) => kind))];
  const names = wide(controls.map(({ control }) => control));
  const none = (list: readonly string[]): string => list.join(', ') || 'none';
  return [
    `${ansis.bold('claims')} of ${ansis.dim(policy)}`,
    ...claims.map(
      ({ id, kind, statement, strength }) =>
        `${shown(strength).padEnd(10)}${id.padEnd(ids)}${kind.padEnd(kinds)}${ansis.dim(statement)}`,
    ),
    ...(claims.length === 0 ? ['none'] : []),
    '',
    ansis.bold('controls'),
    ...controls.map(
      ({ control, title, claims: by }) =>
        `${control.padEnd(names)}${by.map(({ id, strength }) => `${id} (${shown(strength)})`).join(', ')} ${ansis.dim(title)}`,
    ),
    ...(controls.length === 0 ? ['none'] : []),
    '',
    ansis.bold('no claim is about'),
    `categories   ${none(uncovered.categories)}`,
    `methods      ${none(uncovered.methods)}`,
    `collections  ${none(uncovered.collections)}`,
    `and of these kinds none is made: ${none(unclaimed)}`,
  ].join('\n');
}
