/**
 * Demands of a client on a policy, in the policy's own terms.
 *
 * ```
 * claim KIND [for CATEGORY, …] [at least STRENGTH]   the claim is made, backed, and suspended by no
 *                                                    override
 * retention(CATEGORY) <= P30D                        every collection that holds any of it
 * recipients(CATEGORY) subset [NAME | ORIGIN, …]     subprocessors that may be sent any of it
 * readers(CATEGORY) subset [IDENTITY, …]             callers that may be answered with any of it
 * purposes(CATEGORY) subset [PURPOSE, …]             of the methods that accept or return any of it
 * callers(METHOD) subset [IDENTITY, …]
 * attested(CATEGORY)                                 methods that accept or return any of it answer
 *                                                    on attested connections alone
 * regions subset [REGION, …]                         of the system and of all its subprocessors
 * minScore >= 80                                     `sovereignty >= 80` says the same
 * externalCalls <= 1                                 of one request
 * leaks(SURFACE) superset [DETECTOR, …]              what is looked for there; SURFACE is egress,
 *                                                    log or response
 * memory <= 256MiB, cpu <= 500ms, wall <= 5s         of one request, whatever its method
 * inFlight <= 64
 * durability before-response
 * review <= P30D                                     between two reviews of the log
 * logRetention >= P1Y
 * notice >= P7D, signatures >= 2                     of a successor; met where there can be none
 * overrides none
 * neverWeakerThan sha384:…
 * ```
 */

import { policyDigest } from '../canonical.ts';
import { type Category, covers, overlaps } from '../category.ts';
import { CLAIM_KINDS, isAttestedOnly, methodsOf, STRENGTHS, type Strength, strengthOf, suspending } from '../claim.ts';
import { refuse } from '../error.ts';
import {
  type ClaimKind,
  LEAK_DETECTORS,
  LEAK_SURFACES,
  type LeakDetector,
  type LeakSurface,
  type Policy,
  type PolicyDigest,
} from '../policy.ts';
import {
  bytesOf,
  DURATION,
  type Duration,
  millisecondsOf,
  SIZE,
  type Size,
  secondsOf,
  TIME,
  type Time,
} from '../quantity.ts';
import { suggestion } from '../read/suggestion.ts';
import { diff } from './diff.ts';

/** Demands on a set: all that is found must be within what is named. */
export type SetDemand = 'recipients' | 'readers' | 'purposes' | 'callers' | 'regions';

/**
 * Demands on a number: `minScore` and `signatures` at least, `externalCalls` and `inFlight` at
 * most.
 */
export type CountDemand = 'minScore' | 'externalCalls' | 'inFlight' | 'signatures';

/** Demands on what one request may use, at most. */
export type BudgetDemand = 'memory' | 'cpu' | 'wall';

/** Demands on a period: `review` at most, `logRetention` and `notice` at least. */
export type PeriodDemand = 'review' | 'logRetention' | 'notice';

/** One demand; `text` is how it was written. */
export type Demand = { readonly text: string } & (
  | {
      readonly kind: 'claim';
      readonly claim: ClaimKind;
      /** `all`: the claim has to be about the whole vocabulary. */
      readonly data: readonly Category[] | 'all';
      readonly atLeast: Strength;
    }
  | { readonly kind: 'retention'; readonly of: Category; readonly atMost: Duration }
  | { readonly kind: 'attested'; readonly of: Category }
  | { readonly kind: SetDemand; readonly of: string; readonly within: readonly string[] }
  | { readonly kind: CountDemand; readonly limit: number }
  | { readonly kind: BudgetDemand; readonly atMost: Size | Time }
  | { readonly kind: PeriodDemand; readonly limit: Duration }
  | { readonly kind: 'leaks'; readonly on: LeakSurface; readonly detectors: readonly LeakDetector[] }
  | { readonly kind: 'durability' }
  | { readonly kind: 'overrides' }
  | { readonly kind: 'neverWeakerThan'; readonly digest: PolicyDigest }
);

/** How a policy meets a demand. */
export interface DemandResult {
  readonly demand: Demand;
  readonly ok: boolean;
  /** The policy's own value, for people. */
  readonly found: string;
  /** How what was found is known to hold. */
  readonly strength: Strength;
}

/** Inputs of `accept` besides the policy. */
export interface AcceptOptions {
  /** Policies that the client knows, to hold `neverWeakerThan` against. */
  readonly known?: Iterable<Policy>;
}

const MAX_LENGTH = 4096;
const LIST = String.raw`\[(?<list>[^\]]*)\]`;
const OF_DATA = String.raw`\( ?(?<of>[a-z][a-z0-9._-]*) ?\)`;
const OF_METHOD = String.raw`\( ?(?<of>[\w.]+/\w+) ?\)`;

type Groups = Readonly<Record<string, string | undefined>>;
type Form = readonly [shape: RegExp, make: (groups: Groups, text: string) => Demand];

const FORMS: readonly Form[] = [
  form(
    'claim (?<claim>[a-z-]+)(?: for (?<list>[a-z0-9._, -]+?))?(?: at least (?<strength>[a-z]+))?',
    (groups, text) => ({
      text,
      kind: 'claim',
      claim: oneOf(groups.claim, Object.keys(CLAIM_KINDS) as ClaimKind[], text),
      data: groups.list === undefined ? 'all' : listOf(groups.list),
      atLeast: oneOf(groups.strength ?? 'asserted', STRENGTHS, text),
    }),
  ),
  form(String.raw`retention${OF_DATA} ?<= ?(?<limit>\w+)`, ({ of = '', limit }, text) => ({
    text,
    kind: 'retention',
    of,
    atMost: shaped(limit, DURATION, 'an ISO 8601 duration such as P30D', text),
  })),
  ...(['recipients', 'readers', 'purposes'] as const).map((kind) =>
    form(`${kind}${OF_DATA} subset ${LIST}`, within(kind)),
  ),
  form(`callers${OF_METHOD} subset ${LIST}`, within('callers')),
  form(`attested${OF_DATA}`, ({ of = '' }, text) => ({ text, kind: 'attested', of })),
  form(`regions subset ${LIST}`, within('regions')),
  form(String.raw`(?:sovereignty|minScore) ?>= ?(?<limit>\d{1,3})`, counted('minScore')),
  form(String.raw`externalCalls ?<= ?(?<limit>\d{1,6})`, counted('externalCalls')),
  form(String.raw`inFlight ?<= ?(?<limit>\d{1,6})`, counted('inFlight')),
  form(String.raw`signatures ?>= ?(?<limit>\d{1,6})`, counted('signatures')),
  form(String.raw`memory ?<= ?(?<limit>\w+)`, budgeted('memory', SIZE, 'a size such as 256MiB')),
  form(String.raw`cpu ?<= ?(?<limit>\w+)`, budgeted('cpu', TIME, 'a time such as 500ms')),
  form(String.raw`wall ?<= ?(?<limit>\w+)`, budgeted('wall', TIME, 'a time such as 5s')),
  form(String.raw`review ?<= ?(?<limit>\w+)`, lasting('review')),
  form(String.raw`logRetention ?>= ?(?<limit>\w+)`, lasting('logRetention')),
  form(String.raw`notice ?>= ?(?<limit>\w+)`, lasting('notice')),
  form(String.raw`leaks\( ?(?<on>[a-z]+) ?\) superset ${LIST}`, ({ on, list = '' }, text) => ({
    text,
    kind: 'leaks',
    on: oneOf(on, LEAK_SURFACES, text),
    detectors: listOf(list).map((detector) => oneOf(detector, LEAK_DETECTORS, text)),
  })),
  form('durability before-response', (_, text) => ({ text, kind: 'durability' })),
  form('overrides none', (_, text) => ({ text, kind: 'overrides' })),
  form('neverWeakerThan:? (?<digest>sha384:[0-9a-f]{96})', ({ digest }, text) => ({
    text,
    kind: 'neverWeakerThan',
    digest: digest as PolicyDigest,
  })),
];

/**
 * Reads one demand. @throws PolicyError `demand`
 *
 * @example
 * ```ts
 * import { parseDemand } from '@enclaim/policy-schema';
 *
 * const demand = parseDemand('retention(personal.health) <= P30D');
 * console.log(demand.text);
 * ```
 */
export function parseDemand(text: string): Demand {
  if (text.length > MAX_LENGTH) throw refuse('demand', `a demand longer than ${MAX_LENGTH} characters`);
  // One space each, so that no two parts of a form can fight over a run of them.
  const trimmed = text.trim().replaceAll(/\s+/g, ' ');
  for (const [shape, make] of FORMS) {
    const found = shape.exec(trimmed);
    if (found) return make(found.groups ?? {}, trimmed);
  }
  const known = [
    'claim',
    'retention',
    'recipients',
    'readers',
    'purposes',
    'callers',
    'attested',
    'regions',
    'sovereignty',
    'minScore',
    'externalCalls',
    'leaks',
    'memory',
    'cpu',
    'wall',
    'inFlight',
    'durability',
    'review',
    'logRetention',
    'notice',
    'signatures',
    'overrides',
    'neverWeakerThan',
  ];
  const word = /^\w*/.exec(trimmed)?.[0] ?? '';
  const hint = known.includes(word) ? `; see the forms of "${word}"` : suggestion(word, known);
  throw refuse('demand', `"${trimmed.slice(0, 100)}" is not a demand${hint}`);
}

/**
 * Holds a policy against each demand. Nothing that is not found counts as met.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { accept, parseDemand, parsePolicy } from '@enclaim/policy-schema';
 *
 * const policy = parsePolicy(await readFile('policy.yaml', 'utf8'));
 * const demands = [parseDemand('claim no-undisclosed-recipients')];
 * for (const { ok, demand, found } of accept(policy, demands)) console.log(ok, demand.text, found);
 * ```
 */
export function accept(policy: Policy, demands: readonly Demand[], { known = [] }: AcceptOptions = {}): DemandResult[] {
  return demands.map((demand) => ({ demand, ...judge(policy, demand, known) }));
}

type Judgement = Omit<DemandResult, 'demand'>;

function judge(policy: Policy, demand: Demand, known: Iterable<Policy>): Judgement {
  const stranger = unknownTo(policy, demand);
  if (stranger !== undefined) return { ok: false, found: `the policy knows no ${stranger}`, strength: 'measured' };
  switch (demand.kind) {
    case 'claim':
      return judgeClaim(policy, demand);
    case 'retention': {
      const kept = Object.entries(policy.collections).filter(([, { holds }]) => overlaps(holds, [demand.of]));
      return {
        ok: kept.every(
          ([, { retention }]) => retention !== 'unlimited' && secondsOf(retention) <= secondsOf(demand.atMost),
        ),
        found: kept.map(([id, { retention }]) => `${id}: ${retention}`).join(', ') || 'not kept',
        strength: 'enforced',
      };
    }
    case 'regions': {
      const { residency, subprocessors } = policy;
      const regions =
        residency === 'none'
          ? ['any']
          : [...residency.regions, ...Object.values(subprocessors).map(({ region }) => region)];
      return subset(regions, demand.within, 'asserted');
    }
    case 'recipients': {
      const receivers = Object.entries(policy.subprocessors).filter(([, { receives }]) =>
        overlaps(receives, [demand.of]),
      );
      return {
        ok: receivers.every(([id, { address }]) => demand.within.includes(id) || demand.within.includes(address)),
        found: receivers.map(([id, { address }]) => `${id} (${address})`).join(', ') || 'none',
        strength: 'enforced',
      };
    }
    case 'readers': {
      const rules = methodsOf(policy).filter(([, { returns }]) => overlaps(returns, [demand.of]));
      return subset(
        rules.flatMap(([, { callers }]) => callers),
        demand.within,
        'enforced',
      );
    }
    case 'purposes': {
      const rules = methodsOf(policy).filter(([, { accepts, returns }]) =>
        overlaps([...accepts, ...returns], [demand.of]),
      );
      // No component can enforce that a handler serves the purpose it states.
      return subset(
        rules.map(([, { purpose }]) => purpose),
        demand.within,
        'asserted',
      );
    }
    case 'callers': {
      const rule = methodsOf(policy).find(([id]) => id === demand.of)?.[1];
      return subset(rule?.callers ?? [], demand.within, 'enforced');
    }
    case 'attested': {
      const concerned = methodsOf(policy).filter(([, { accepts, returns }]) =>
        overlaps([...accepts, ...returns], [demand.of]),
      );
      const plain = concerned.flatMap(([id]) => (isAttestedOnly(policy, id) ? [] : [id])).sort();
      const found = plain.length === 0 ? 'on attested connections alone' : `on any connection: ${plain.join(', ')}`;
      return { ok: plain.length === 0, found, strength: 'enforced' };
    }
    case 'minScore': {
      const { sovereignty } = policy.governance;
      const suspended = suspendedIn(policy, ['sovereignty.minScore']);
      const ok = sovereignty !== 'none' && sovereignty.minScore >= demand.limit && suspended.length === 0;
      const found = sovereignty === 'none' ? 'none' : `at least ${sovereignty.minScore}${suspendedBy(suspended)}`;
      return { ok, found, strength: 'enforced' };
    }
    case 'externalCalls': {
      const { sovereignty } = policy.governance;
      const suspended = suspendedIn(policy, ['sovereignty.maxExternalCalls']);
      if (Object.keys(policy.subprocessors).length === 0)
        return { ok: true, found: 'none, for there are no subprocessors', strength: 'enforced' };
      const most = sovereignty === 'none' ? undefined : sovereignty.maxExternalCalls;
      return atMost(most, demand.limit, most === undefined ? 'no limit' : `at most ${most}`, suspended);
    }
    case 'inFlight': {
      const { resources } = policy.governance;
      const most = resources === 'none' ? undefined : resources.inFlight;
      const found = most === undefined ? 'no limit' : `at most ${most}`;
      return atMost(most, demand.limit, found, suspendedIn(policy, ['resources.inFlight']));
    }
    case 'memory':
    case 'cpu':
    case 'wall': {
      const { resources } = policy.governance;
      const measure = demand.kind === 'memory' ? bytesOf : millisecondsOf;
      const most = resources === 'none' ? undefined : resources[demand.kind];
      const limit = most === undefined ? undefined : measure(most);
      const found = most === undefined ? 'no limit' : `at most ${most}`;
      return atMost(limit, measure(demand.atMost), found, suspendedIn(policy, [`resources.${demand.kind}`]));
    }
    case 'leaks': {
      const { leaks } = policy.governance;
      const there = leaks !== 'none' && leaks.on.includes(demand.on) ? leaks.detectors : [];
      const suspended = suspendedIn(
        policy,
        demand.detectors.map((detector) => `leaks.${detector}`),
      );
      return {
        ok: demand.detectors.every((detector) => there.includes(detector)) && suspended.length === 0,
        found: `${there.join(', ') || 'nothing'}${suspendedBy(suspended)}`,
        strength: 'enforced',
      };
    }
    case 'review': {
      const { review } = policy.evidence;
      const ok = review !== 'none' && secondsOf(review.every) <= secondsOf(demand.limit);
      return { ok, found: review === 'none' ? 'none' : `every ${review.every}`, strength: 'asserted' };
    }
    case 'logRetention': {
      const { retention } = policy.evidence;
      const ok = retention === 'unlimited' || secondsOf(retention) >= secondsOf(demand.limit);
      return { ok, found: retention, strength: 'enforced' };
    }
    case 'notice': {
      const { succession } = policy;
      if (succession === 'none') return { ok: true, found: 'no successor', strength: 'measured' };
      const ok = secondsOf(succession.notice) >= secondsOf(demand.limit);
      return { ok, found: succession.notice, strength: 'measured' };
    }
    case 'signatures': {
      const { succession } = policy;
      if (succession === 'none') return { ok: true, found: 'no successor', strength: 'measured' };
      return { ok: succession.threshold >= demand.limit, found: `${succession.threshold}`, strength: 'measured' };
    }
    case 'durability': {
      const { durability } = policy.evidence;
      return { ok: durability === 'before-response', found: durability, strength: 'enforced' };
    }
    case 'overrides': {
      const found = policy.overrides.map(({ id, suspends, expires }) => `${id} suspends ${suspends} until ${expires}`);
      return { ok: found.length === 0, found: found.join(', ') || 'none', strength: 'measured' };
    }
    case 'neverWeakerThan': {
      const digest = policyDigest(policy);
      if (digest === demand.digest) return { ok: true, found: 'the same policy', strength: 'measured' };
      const pinned = [...known].find((other) => policyDigest(other) === demand.digest);
      if (!pinned)
        return { ok: false, found: `${digest}; the policy demanded is not at hand to compare`, strength: 'measured' };
      const { verdict, changes } = diff(pinned, policy);
      const against = changes.filter((change) => change.verdict === 'weaker' || change.verdict === 'incomparable');
      const found = [verdict, ...against.map(({ sentence }) => sentence)].join('; ');
      return { ok: against.length === 0, found, strength: 'measured' };
    }
  }
}

/**
 * A name in a demand that the policy does not have. Without this, a slip of the pen would read as
 * "none found".
 */
function unknownTo(policy: Policy, demand: Demand): string | undefined {
  switch (demand.kind) {
    case 'claim':
      return demand.data === 'all' ? undefined : demand.data.find((category) => !isKnown(policy, category));
    case 'retention':
    case 'recipients':
    case 'readers':
    case 'purposes':
    case 'attested':
      return isKnown(policy, demand.of) ? undefined : demand.of;
    case 'callers':
      return methodsOf(policy).some(([id]) => id === demand.of) ? undefined : demand.of;
    default:
      return undefined;
  }
}

function isKnown(policy: Policy, category: Category): boolean {
  return overlaps([category], Object.keys(policy.data));
}

function judgeClaim(policy: Policy, { claim: kind, data, atLeast }: Extract<Demand, { kind: 'claim' }>): Judgement {
  const claims = policy.claims.filter((claim) => claim.kind === kind);
  const strength = strengthOf(kind, policy);
  if (claims.length === 0) return { ok: false, found: 'no such claim', strength };
  const scopes = claims.map((claim) => claim.data);
  const whole = scopes.includes('all');
  const named = scopes.flatMap((scope) => (scope === 'all' ? [] : scope));
  const suspended = suspending(kind, policy).map(({ id }) => id);
  const strong = STRENGTHS.indexOf(strength) <= STRENGTHS.indexOf(atLeast);
  const covered = [...new Set(claims.map((claim) => CLAIM_KINDS[kind].covers(policy, claim)))].join('; ');
  return {
    ok: (whole || (data !== 'all' && covers(named, data))) && strong && suspended.length === 0,
    found: `claimed${whole ? '' : ` for ${named.join(', ')}`}${suspendedBy(suspended)}: ${covered}`,
    strength,
  };
}

/** The overrides that suspend one of some limits. */
function suspendedIn({ overrides }: Policy, limits: readonly string[]): string[] {
  return overrides.filter(({ suspends }) => limits.includes(suspends)).map(({ id }) => id);
}

function atMost(limit: number | undefined, demanded: number, found: string, suspended: readonly string[]): Judgement {
  return {
    ok: limit !== undefined && limit <= demanded && suspended.length === 0,
    found: `${found}${suspendedBy(suspended)}`,
    strength: 'enforced',
  };
}

function suspendedBy(ids: readonly string[]): string {
  return ids.length === 0 ? '' : `, suspended in part by ${ids.join(', ')}`;
}

function subset(found: readonly string[], within: readonly string[], strength: Strength): Judgement {
  const names = [...new Set(found)].sort();
  return { ok: names.every((name) => within.includes(name)), found: names.join(', ') || 'none', strength };
}

function form(shape: string, make: Form[1]): Form {
  return [new RegExp(`^${shape}$`), make];
}

function within(kind: SetDemand): Form[1] {
  return ({ of = '', list = '' }, text) => ({ text, kind, of, within: listOf(list) });
}

function counted(kind: CountDemand): Form[1] {
  return ({ limit }, text) => ({ text, kind, limit: Number(limit) });
}

function budgeted(kind: BudgetDemand, shape: RegExp, what: string): Form[1] {
  return ({ limit }, text) => ({ text, kind, atMost: shaped(limit, shape, what, text) });
}

function lasting(kind: PeriodDemand): Form[1] {
  return ({ limit }, text) => ({
    text,
    kind,
    limit: shaped(limit, DURATION, 'an ISO 8601 duration such as P30D', text),
  });
}

function shaped(value: string | undefined, shape: RegExp, what: string, text: string): string {
  if (value === undefined || !shape.test(value)) throw refuse('demand', `"${text}": expected ${what}`);
  return value;
}

function listOf(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function oneOf<T extends string>(word: string | undefined, known: readonly T[], text: string): T {
  const found = known.find((each) => each === word);
  if (found === undefined)
    throw refuse('demand', `"${text}": no such thing as "${word}"${suggestion(word ?? '', known)}`);
  return found;
}
