/**
 * A collection as calls use it, wherever its values lie. A call's changes are gathered while it
 * runs and applied with its last record: all of them, or none.
 */

import type { JsonText } from '../worker/json-text.ts';

/** The content of a place where something is stored, or was. */
export interface Found {
  /**
   * The value's JSON; undefined if it was deleted or is past its retention. A promise where it has
   * to be read from a disk.
   */
  readonly value: JsonText | Promise<JsonText> | undefined;
  /**
   * The label of knowing this content: everything that the calls carried which stored or deleted
   * something there.
   */
  readonly label: readonly string[];
  /** When the oldest of its sources was first stored: milliseconds of the store's clock. */
  readonly since: number;
  /** Another after each change of the place. */
  readonly version: string;
}

/** Which keys to name: those that begin with `prefix` and sort behind `after`, at most `limit`. */
export interface KeyRange {
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
}

/** Keys, sorted by code unit, and the label of knowing them. */
export interface FoundKeys {
  readonly keys: readonly string[];
  readonly label: readonly string[];
}

/** One change of a call's transaction. Keys and values are within their limits already. */
export type Change = {
  readonly key: string;
  /** The call's label at its end, sorted. */
  readonly label: readonly string[];
  /**
   * The version that the place must still have, or null if nothing may be stored there; absent if
   * the call does not say.
   */
  readonly ifVersion?: string | null;
} & (
  | {
      readonly kind: 'put';
      readonly value: JsonText;
      /** When the oldest source of the value was stored; infinite if it has none. */
      readonly since: number;
      /** The identity whose room it takes. */
      readonly owner: string;
    }
  | { readonly kind: 'delete' }
  /** Nothing but the label: the call failed after it had meant to change the place. */
  | { readonly kind: 'mark' }
);

/** One collection of a policy. All collections of a boot read one clock, which never goes back. */
export interface Collection {
  /** The place of a key; undefined if there is none. */
  get(key: string): Found | undefined;
  list(range: KeyRange): FoundKeys;
  /**
   * Whether all changes can be made now, in their order. {@link apply} follows in the same turn.
   *
   * @throws RefusalError `conflict` if a place has another version, `budget` without room; both
   * end the call
   */
  check(changes: readonly Change[]): void;
  /**
   * Makes changes that were checked. Later reads see them at once; they are durable with the record
   * that is placed in the same turn.
   */
  apply(changes: readonly Change[]): void;
}
