/** From a plain value to a policy: the grammar, then coherence, then one order of everything. */

import { PolicyError, type PolicyIssue, pointerOf } from '../error.ts';
import type { Policy } from '../policy.ts';
import { QUOTED_BY_DEFAULT } from '../quantity.ts';
import { findIncoherences } from './coherence.ts';
import { explain, type Finding } from './finding.ts';
import { policyGrammar } from './grammar.ts';

/** The result of reading: a policy if no issue is an error. */
export interface Reading {
  readonly policy?: Policy;
  readonly issues: readonly PolicyIssue[];
  /** The pointer into the value that was read, for one into the policy, whose lists are sorted. */
  asWritten(pointer: string): string;
}

type Path = readonly PropertyKey[];

/**
 * Placeholders for what every policy must have, so that the rest of a policy without it can still
 * be checked.
 */
const STAND_IN = { enclaim: 1, system: { name: 'x', owner: { name: 'x', contact: 'x' }, version: 2 } };

/**
 * Reads a plain value as a policy, and finds everything that is wrong with it.
 *
 * Entries that the grammar refuses are left out and the rest is still checked for coherence, so
 * that one run shows all. Only claims are not judged then, because what would back them may be
 * among what was left out.
 * @param asOf milliseconds since 1970 UTC; given, what has expired by then is an error
 */
export function readPolicy(value: unknown, asOf?: number): Reading {
  const parsed = policyGrammar.safeParse(value);
  if (!parsed.success) {
    const findings = parsed.error.issues.flatMap((issue) => explain(issue, value, policyGrammar));
    return { issues: [...findings, ...checkRest(value, findings, asOf)], asWritten: same };
  }
  const issues = findIncoherences(parsed.data, asOf);
  if (issues.some(({ severity }) => severity === 'error')) return { issues, asWritten: same };
  const orders: Orders = new Map();
  const policy = settle(withoutDefaults(parsed.data), '', orders);
  return { policy, issues, asWritten: (pointer) => unsorted(pointer, orders) };
}

/**
 * The policy without words that say the default of an optional entry, so that one meaning has one
 * digest.
 */
function withoutDefaults({ evidence: { quoted, ...evidence }, ...policy }: Policy): Policy {
  return {
    ...policy,
    evidence: { ...evidence, ...(quoted !== undefined && quoted !== QUOTED_BY_DEFAULT && { quoted }) },
  };
}

/** The policy of a plain value. @throws PolicyError with every error found, without places */
export function accepted(value: unknown): Policy {
  const { policy, issues } = readPolicy(value);
  if (!policy) throw new PolicyError(issues);
  return policy;
}

function checkRest(value: unknown, findings: readonly Finding[], asOf?: number): PolicyIssue[] {
  const rest = structuredClone(value);
  const left = new Set<string>();
  const holes = new Map<string, Set<number>>();
  for (const { path } of findings) {
    const entry = entryOf(path);
    left.add(pointerOf(entry));
    leaveOut(rest, entry, holes);
  }
  const kept = closeHoles(rest, holes);
  const parsed = policyGrammar.safeParse(rest);
  if (!parsed.success) return [];
  const absent = (pointer: string): boolean => [...left].some((at) => `${pointer}/`.startsWith(`${at}/`));
  return findIncoherences(parsed.data, asOf, absent)
    .filter(({ code }) => code !== 'unbacked')
    .map((issue) => ({ ...issue, pointer: asWritten(issue.pointer, kept) }));
}

/**
 * The smallest part of the document that can be left out: an entry of a section, or the section.
 */
function entryOf(path: Path): Path {
  const depth: Readonly<Record<string, number>> = { system: 1, services: 3, access: 3 };
  return path.slice(0, depth[String(path[0])] ?? 2);
}

function leaveOut(document: unknown, path: Path, holes: Map<string, Set<number>>): void {
  const [section, last] = [path[0], path.at(-1)];
  const holder = path
    .slice(0, -1)
    .reduce<unknown>((at, step) => (isObject(at) ? Reflect.get(at, step) : undefined), document);
  if (!isObject(holder) || last === undefined) return;
  if (Array.isArray(holder)) {
    const hole = holes.get(String(section)) ?? new Set();
    holes.set(String(section), hole.add(Number(last)));
  } else if (path.length === 1 && Object.hasOwn(STAND_IN, last)) Reflect.set(holder, last, Reflect.get(STAND_IN, last));
  else Reflect.deleteProperty(holder, last);
}

/**
 * Takes the left-out members out of lists; gives the index that each remaining one had in the
 * source.
 */
function closeHoles(document: unknown, holes: ReadonlyMap<string, ReadonlySet<number>>): Map<string, number[]> {
  const kept = new Map<string, number[]>();
  for (const [section, hole] of holes) {
    const list: unknown = isObject(document) ? Reflect.get(document, section) : undefined;
    if (!Array.isArray(list)) continue;
    const indexes = [...list.keys()].filter((i) => !hole.has(i));
    kept.set(section, indexes);
    Reflect.set(
      Object(document),
      section,
      indexes.map((i) => list[i]),
    );
  }
  return kept;
}

function asWritten(pointer: string, kept: ReadonlyMap<string, readonly number[]>): string {
  const [, section = '', index = '', ...rest] = pointer.split('/');
  const indexes = kept.get(section);
  return indexes ? ['', section, indexes[Number(index)], ...rest].join('/') : pointer;
}

/**
 * Index that each member of a list had in the value that was read, for each list of a policy, by
 * its pointer there.
 */
type Orders = Map<string, readonly number[]>;

/** One order for all: lists are sorted sets, objects have no prototype, nothing can change. */
function settle<T>(value: T, at: string, orders: Orders): T {
  if (!isObject(value)) return value;
  if (Array.isArray(value)) {
    const order = [...value.keys()].sort((a, b) => compare(sortKey(value[a]), sortKey(value[b])));
    orders.set(at, order);
    return Object.freeze(order.map((from, i) => settle(value[from], `${at}/${i}`, orders))) as T;
  }
  const copy: Record<string, unknown> = Object.create(null);
  for (const [key, child] of Object.entries(value)) copy[key] = settle(child, at + pointerOf([key]), orders);
  return Object.freeze(copy) as T;
}

function unsorted(pointer: string, orders: Orders): string {
  let sorted = '';
  const steps = pointer.split('/').slice(1);
  const written = steps.map((step) => {
    const from = orders.get(sorted)?.[Number(step)];
    sorted += `/${step}`;
    return from === undefined ? step : String(from);
  });
  return ['', ...written].join('/');
}

function same(pointer: string): string {
  return pointer;
}

function sortKey(member: unknown): string {
  return String(isObject(member) ? Reflect.get(member, 'id') : member);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
