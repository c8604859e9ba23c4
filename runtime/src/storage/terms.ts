/**
 * Blinded terms of records: what an index has in the place of a field's value. They live with the
 * value, so that what has no value any more is found by none.
 */

import { createHmac } from 'node:crypto';
import type { IndexedValues, RecordForm, SoughtValue } from './record-form.ts';

export const BLINDING_KEY_BYTES = 32;
/** Bytes of a term. */
export const TERM_BYTES = 16;

/** A term that is looked for among those of a record. */
export interface SoughtTerm {
  /** Where it would stand. */
  readonly at: number;
  readonly term: Uint8Array;
}

/**
 * Makes the terms of one collection.
 *
 * **Cost**: a term is as long for each value, so that an index takes the same memory for any, and
 * has no second copy of what is stored.
 */
export class Blinding {
  readonly #key: Uint8Array;
  readonly #collection: string;
  readonly #fields: readonly string[];

  /** @param key {@link BLINDING_KEY_BYTES} bytes, which nothing else is made with */
  constructor(key: Uint8Array, collection: string, { fields }: Pick<RecordForm, 'fields'>) {
    this.#key = key;
    this.#collection = collection;
    this.#fields = fields;
  }

  /** Bytes of all terms of a record, whichever of its fields are there. */
  get bytes(): number {
    return TERM_BYTES * this.#fields.length;
  }

  /** The terms of a record, one behind the other; zeros where a field is not there. */
  termsOf(values: IndexedValues): Uint8Array {
    const terms = new Uint8Array(this.bytes);
    for (const [index, value] of values.entries())
      if (value !== null) terms.set(this.#termOf(index, value), TERM_BYTES * index);
    return terms;
  }

  soughtOf({ index, value }: SoughtValue): SoughtTerm {
    return { at: TERM_BYTES * index, term: this.#termOf(index, value) };
  }

  #termOf(index: number, value: string): Uint8Array {
    const name = JSON.stringify([this.#collection, this.#fields[index], value]);
    return createHmac('sha256', this.#key).update(name).digest().subarray(0, TERM_BYTES);
  }
}

/**
 * The term of a search; undefined for a list of all keys.
 *
 * @throws TypeError for a search of a collection without an index, which would name all keys
 */
export function soughtBy(blinding: Blinding | undefined, where: SoughtValue | undefined): SoughtTerm | undefined {
  if (where === undefined) return undefined;
  if (blinding === undefined) throw new TypeError('a search of a collection without an index');
  return blinding.soughtOf(where);
}

/** Whether bytes have a term where it would stand behind `from`. */
export function hasTerm(bytes: Uint8Array, from: number, end: number, { at, term }: SoughtTerm): boolean {
  if (from + at + TERM_BYTES > end) return false;
  for (let i = 0; i < TERM_BYTES; i++) if (bytes[from + at + i] !== term[i]) return false;
  return true;
}
