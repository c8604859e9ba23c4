/** The form of a collection's records, where its policy names one: a message, and its indexes. */

import type { Json } from '../worker/json-text.ts';

/**
 * Values of a record's indexed fields as text, in the order of the indexes. Two values are alike if
 * their texts are; null where a field that need not be there is not.
 */
export type IndexedValues = readonly (string | null)[];

/** A value of one indexed field that records are listed by. */
export interface SoughtValue {
  /** Number of the index. */
  readonly index: number;
  readonly value: string;
}

/** A search as a handler asks for it. */
export interface Search extends SoughtValue {
  /** Categories of the field: what is found by it tells what is in it. */
  readonly label: readonly string[];
}

/** The form of records. */
export interface RecordForm {
  /** Names of the indexed fields, in the order of the policy. */
  readonly fields: readonly string[];
  /** A hash that changes with all that {@link valuesOf} depends on. */
  readonly shape: string;
  /** @throws RefusalError `worker` for a record that is no such message */
  valuesOf(record: Json): IndexedValues;
  /**
   * @param where a message of which one indexed field is there
   * @throws RefusalError `grant` for any other
   */
  searchOf(where: Json): Search;
}
