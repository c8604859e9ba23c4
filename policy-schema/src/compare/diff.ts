/**
 * Changes between two policies, and their direction. A policy is weaker than another if something
 * becomes possible that was not: a method, a sink, a caller, a later date, a higher limit, or one
 * obligation less.
 */

import { pointerOf } from '../error.ts';
import { canonicalJson, decodeUtf8 } from '../json.ts';
import type { Policy } from '../policy.ts';
import { ANY, type Common, type Members, type Statement, statements } from './statements.ts';

/**
 * The direction of a change. `equal`: words only. `incomparable`: different, and neither is within
 * the other.
 */
export type Direction = 'stronger' | 'weaker' | 'equal' | 'incomparable';

/** One change. */
export interface Change {
  readonly verdict: Direction;
  /** The subject of the change, without names: `collections.retention`. */
  readonly aspect: string;
  /** The part of the document. */
  readonly pointer: string;
  /** For people: "mailer may now also receive personal.health". */
  readonly sentence: string;
}

/** Two policies compared. */
export interface PolicyDiff {
  /** Weaker if any change is; else incomparable if any is; else stronger if any is. */
  readonly verdict: Direction;
  readonly changes: readonly Change[];
}

type Listed = Extract<Statement, { readonly members: Members }>;

/** Directions of a member more and of a member less, by the order of the statement. */
const DIRECTIONS = { may: ['weaker', 'stronger'], must: ['stronger', 'weaker'], list: ['equal', 'equal'] } as const;

/**
 * Compares two policies: what changes when `after` takes the place of `before`.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { diff, parsePolicy } from '@enclaim/policy-schema';
 *
 * const [before, after] = [await readFile('old.yaml'), await readFile('new.yaml')].map((bytes) =>
 *   parsePolicy(bytes),
 * );
 * if (before && after) console.log(diff(before, after).verdict); // 'weaker', …
 * ```
 */
export function diff(before: Policy, after: Policy): PolicyDiff {
  const common: Common = {
    categories: Object.keys(before.data).filter((category) => Object.hasOwn(after.data, category)),
    budgeted: new Set(
      [before, after].flatMap(({ governance: { resources } }) =>
        resources === 'none' ? [] : Object.keys(resources.methods),
      ),
    ),
  };
  const said = new Map([...statements(before, common)].map((statement) => [keyOf(statement), statement]));
  const changes: Change[] = [];
  for (const now of statements(after, common)) {
    const then = said.get(keyOf(now));
    if (then) changes.push(...compare(then, now));
  }
  if (before.system.name === after.system.name && after.system.version < before.system.version)
    changes.push({
      verdict: 'weaker',
      aspect: 'system.version',
      pointer: '/system/version',
      sentence: `the version goes back from ${before.system.version} to ${after.system.version}: it only ever grows`,
    });
  const order: readonly Direction[] = ['weaker', 'incomparable', 'stronger'];
  return {
    verdict: order.find((direction) => changes.some(({ verdict }) => verdict === direction)) ?? 'equal',
    changes,
  };
}

function compare(then: Statement, now: Statement): Change[] {
  const { aspect, path } = now;
  const change = (verdict: Direction, sentence: string): Change => ({
    verdict,
    aspect,
    pointer: pointerOf(path),
    sentence,
  });
  if ('members' in now && 'members' in then) {
    const [more, less] = DIRECTIONS[now.order];
    const sentence = (how: string, names: readonly string[], { show = String }: typeof now): string =>
      `${now.says} ${how} ${now.does} ${names.map(show).join(', ')}`.trimEnd();
    const [gained, lost] = [without(now, then.members), without(then, now.members)];
    return [
      ...(gained.length > 0 ? [change(more, sentence('now also', gained, now))] : []),
      ...(lost.length > 0 ? [change(less, sentence('no longer', lost, then))] : []),
    ];
  }
  if ('limit' in now && 'limit' in then) {
    const sentence = `${now.says} ${now.shown}, before ${then.shown}`;
    if (now.limit !== then.limit)
      return [change(now.limit > then.limit === (now.order === 'most') ? 'weaker' : 'stronger', sentence)];
    return now.shown === then.shown ? [] : [change('equal', sentence)];
  }
  if ('value' in now && 'value' in then) {
    const [old, current] = [textOf(then.value), textOf(now.value)];
    if (old === current) return [];
    return [
      change(now.order === 'words' ? 'equal' : 'incomparable', `${now.says} is ${clip(current)}, before ${clip(old)}`),
    ];
  }
  return [];
}

/**
 * Names that are in one and not in the other, nor entailed there. If a category and one above it
 * are, only the one above.
 */
function without({ members: these, entails }: Listed, those: Members): string[] {
  if (those === ANY) return [];
  if (these === ANY) return [ANY];
  const names = [...these].filter((name) => !those.has(name) && ![...those].some((other) => entails?.(other, name)));
  return names.filter((name) => !names.some((other) => other !== name && name.startsWith(`${other}.`))).sort();
}

/**
 * A key by which statements of both policies are about the same thing. Their places do not tell,
 * because a list may have moved.
 */
function keyOf({ aspect, says }: Statement): string {
  return `${aspect} ${says}`;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : decodeUtf8(canonicalJson(value));
}

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
