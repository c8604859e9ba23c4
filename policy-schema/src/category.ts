/** Data categories, labels and clearances: the algebra that everything else decides with. */

/**
 * A data category, such as `personal.health`. Dots make a hierarchy: `personal` covers
 * `personal.health`.
 */
export type Category = string;

/** The categories that some data carries. Empty: the data says nothing about anything. */
export type Label = ReadonlySet<Category>;

/** A set of categories in either of the forms that policies and labels use. */
export type Categories = ReadonlySet<Category> | readonly Category[];

/**
 * The category of data that every caller may have. It has to be written, and every clearance covers
 * it.
 *
 * @example
 * ```ts
 * import { covers, PUBLIC } from '@enclaim/policy-schema/admission';
 *
 * covers([], [PUBLIC]); // true: everything may hold it
 * ```
 */
export const PUBLIC: Category = 'public';

/**
 * Whether data labelled `label` may go to a holder of `clearance`: it covers each category of the
 * label.
 *
 * @example
 * ```ts
 * import { covers } from '@enclaim/policy-schema/admission';
 *
 * covers(['personal'], ['personal.health']); // true
 * covers(['personal.health'], ['personal']); // false
 * ```
 */
export function covers(clearance: Categories, label: Iterable<Category>): boolean {
  for (const category of label) if (!coversOne(clearance, category)) return false;
  return true;
}

/**
 * The categories of `label` that `clearance` does not cover, sorted.
 *
 * @example
 * ```ts
 * import { uncovered } from '@enclaim/policy-schema/admission';
 *
 * uncovered(['operational'], ['operational', 'personal.health']); // ['personal.health']
 * ```
 */
export function uncovered(clearance: Categories, label: Iterable<Category>): Category[] {
  return [...label].filter((category) => !coversOne(clearance, category)).sort();
}

/**
 * Whether the two have data in common: one covers a category of the other, or the other way round.
 *
 * @example
 * ```ts
 * import { overlaps } from '@enclaim/policy-schema/admission';
 *
 * overlaps(['personal'], ['personal.health']); // true
 * ```
 */
export function overlaps(a: Categories, b: Categories): boolean {
  for (const category of a) if (category !== PUBLIC && coversOne(b, category)) return true;
  for (const category of b) if (category !== PUBLIC && coversOne(a, category)) return true;
  return false;
}

/** A category and those above it: `a.b.c`, `a.b`, `a`. */
export function withAncestors(category: Category): Category[] {
  const found: Category[] = [];
  for (let end = category.length; end > 0; end = category.lastIndexOf('.', end - 1)) found.push(category.slice(0, end));
  return found;
}

function coversOne(clearance: Categories, category: Category): boolean {
  if (category === PUBLIC) return true;
  const has = (word: Category): boolean => ('has' in clearance ? clearance.has(word) : clearance.includes(word));
  return has(category) || (category.includes('.') && withAncestors(category).some(has));
}
