/** Data categories as bits of a number, so that the label of a message is made by `|`. */

import type { Category, Label } from '@enclaim/policy-schema/admission';

/** Categories that a mask can tell apart: the bits of a small integer. */
export const MAX_CATEGORIES = 31;
/**
 * Labels that are kept by mask.
 *
 * **Bound**: a caller chooses which fields it populates, and so which masks there are.
 */
const MAX_KEPT_LABELS = 1024;

/** Some data categories, each with a bit. */
export class CategoryBits {
  readonly #bits: ReadonlyMap<Category, number>;

  /** @throws RangeError for more than {@link MAX_CATEGORIES} */
  constructor(categories: Iterable<Category>) {
    const sorted = [...new Set(categories)].sort();
    if (sorted.length > MAX_CATEGORIES) throw new RangeError(`more than ${MAX_CATEGORIES} categories`);
    this.#bits = new Map(sorted.map((category, i) => [category, 1 << i]));
  }

  /** @throws RangeError for a category without a bit */
  maskOf(categories: Iterable<Category>): number {
    let mask = 0;
    for (const category of categories) {
      const bit = this.#bits.get(category);
      if (bit === undefined) throw new RangeError('a category without a bit');
      mask |= bit;
    }
    return mask;
  }

  /** The label of a mask. */
  labelOf(mask: number): Label {
    const label = new Set<Category>();
    for (const [category, bit] of this.#bits) if ((mask & bit) !== 0) label.add(category);
    return label;
  }
}

/** Labels by mask. One mask mostly gives one and the same object, by which decisions are kept. */
export class KeptLabels {
  readonly #bits: CategoryBits;
  readonly #always: Iterable<Category>;
  readonly #kept = new Map<number, Label>();

  /** @param always categories that each label has besides those of its mask */
  constructor(bits: CategoryBits, always: Iterable<Category> = []) {
    this.#bits = bits;
    this.#always = always;
  }

  of(mask: number): Label {
    const kept = this.#kept.get(mask);
    if (kept !== undefined) return kept;
    const label = new Set([...this.#always, ...this.#bits.labelOf(mask)]);
    if (this.#kept.size < MAX_KEPT_LABELS) this.#kept.set(mask, label);
    return label;
  }
}
