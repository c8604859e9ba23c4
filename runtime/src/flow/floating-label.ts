/**
 * The floating label of a call, in two parts. Categories that the caller sent may go back to that
 * caller; categories that were read may go where the policy says. A collection takes both. Neither
 * part ever shrinks, and the worker has no say in it.
 */

import type { Label } from '@enclaim/policy-schema/admission';

const EMPTY: Label = new Set();
/**
 * The names of labels, sorted.
 *
 * **Cost**: most messages of a method have one and the same label, an object that is kept.
 */
const SORTED: WeakMap<Label, readonly string[]> = new WeakMap();

/** The label of one call. */
export class FloatingLabel {
  #read = EMPTY;
  /** Both parts. */
  #whole = EMPTY;
  /** Whether the call has done something visible outside it. */
  acted = false;

  /** The categories of everything that the call carries, sorted. */
  get names(): readonly string[] {
    return sortedNames(this.#whole);
  }

  /** Whether it is empty or public. */
  get open(): boolean {
    return isOpen(this.names);
  }

  /** Categories that the call has read. An answer without fields carries these. */
  get read(): Label {
    return this.#read;
  }

  /** Adds categories that the caller sent. */
  growSent(by: Label): void {
    this.#whole = joinedLabel(this.#whole, by);
  }

  /** Adds categories that the call has read. */
  growRead(by: Iterable<string>): void {
    const label = new Set(by);
    this.#read = joinedLabel(this.#read, label);
    this.#whole = joinedLabel(this.#whole, label);
  }
}

/** Whether a label is empty or public. */
export function isOpen(label: readonly string[]): boolean {
  return label.every((category) => category === 'public');
}

/** The categories of two labels; one of the two if it has all. Neither is changed. */
export function joinedLabel(one: Label, other: Label): Label {
  if (other.isSubsetOf(one)) return one;
  return one.isSubsetOf(other) ? other : one.union(other);
}

/** The names in a label, sorted. */
export function sortedNames(label: Label): readonly string[] {
  const kept = SORTED.get(label);
  if (kept !== undefined) return kept;
  const names = [...label].sort();
  SORTED.set(label, names);
  return names;
}
