/**
 * A collection as calls use it, wherever its values lie. A call's changes are gathered while it
 * runs. At its end they are made in all collections, or in none.
 *
 * The end is one turn of the loop, in this order:
 * 1. {@link Collection.check} of every collection that the call changes. If one refuses, the call
 *    ends in that refusal, and its changes are only marked.
 * 2. `RecordLog.place` of the record of the call's end. If the log refuses, nothing is applied.
 * 3. {@link Collection.apply} of every collection, which cannot fail.
 *
 * The log begins no write within a turn, so what `apply` gives to the log goes into the block of
 * that record. A collection whose changes take room in the log makes sure of it in `check`.
 */

import type { JsonText } from '../worker/json-text.ts';
import type { IndexedValues, RecordForm, SoughtValue } from './record-form.ts';

/** The content of a place where something is stored, or was. */
export interface Found {
  /**
   * The value's JSON; undefined if it was deleted or is past its retention. A promise where it has
   * to be read from a disk: if it rejects, the call ends.
   */
  readonly value: JsonText | Promise<JsonText> | undefined;
  /**
   * The label of knowing this content: everything that the calls carried which stored, deleted or
   * marked something there.
   */
  readonly label: readonly string[];
  /** When the oldest of its sources was first stored: milliseconds of the store's clock. */
  readonly since: number;
  /** The version of the value, as it came with the change; undefined if there is no value. */
  readonly version: string | undefined;
}

/**
 * Which keys to name: those that begin with `prefix` and sort behind `after`, at most `limit`; with
 * `where`, those of them alone whose records have that value.
 */
export interface KeyRange {
  readonly prefix: string;
  readonly after: string;
  /** At least 1; may be infinite. */
  readonly limit: number;
  readonly where?: SoughtValue | undefined;
}

/**
 * Keys, sorted by code unit, and the label of knowing them: that of every place in the part of the
 * range that was looked at, also of those without a value or with another one than was sought. If
 * `limit` keys are named, that part ends with the last of them. Otherwise it is the whole range.
 */
export interface FoundKeys {
  readonly keys: readonly string[];
  readonly label: readonly string[];
}

/** Members of every change. Keys and values are within their limits already. */
interface Changed {
  readonly key: string;
  /** The call's label at its end, sorted. */
  readonly label: readonly string[];
}

/** A condition of a change. */
interface Conditional {
  /**
   * The version that the value must still have, or null if there must be no value. Absent if the
   * call does not say. Of several changes of one key only the first has a condition.
   */
  readonly ifVersion?: string | null | undefined;
}

/** Facts about a value that is stored. */
interface Stored {
  /** When the oldest source of the value was stored; infinite if it has none. */
  readonly since: number;
  /** The identity whose room it takes. */
  readonly owner: string;
}

/** A value is stored. */
export interface Put extends Changed, Conditional, Stored {
  readonly kind: 'put';
  readonly value: JsonText;
  /** Values of its indexed fields, where the collection has a form. */
  readonly indexed?: IndexedValues | undefined;
  /**
   * Sixteen hexadecimal digits, drawn at random.
   *
   * **Leak**: a count would tell how many calls changed something meanwhile.
   */
  readonly version: string;
}

/** A value is deleted. Where there is none, nothing changes. */
export interface Delete extends Changed, Conditional {
  readonly kind: 'delete';
}

/**
 * A change that was not made, because the call failed. Label and end of the place become what the
 * change would have made them, and nothing else changes: whether it was made says no more than the
 * place's label does.
 *
 * Where the change would have stored a value, and there is no place, there is one without a value
 * afterwards. It is left out if there is no room for it: a value would have found none either.
 */
export type Mark = Changed & ({ readonly kind: 'mark-delete' } | ({ readonly kind: 'mark-put' } & Stored));

/** One change of a call's transaction. */
export type Change = Put | Delete | Mark;

/** One collection of a policy. All collections of a boot read one clock, which never goes back. */
export interface Collection {
  /** The form of its records; undefined where they are any JSON. */
  readonly form?: RecordForm | undefined;
  /** The place of a key; undefined if there is none. */
  get(key: string): Found | undefined;
  list(range: KeyRange): FoundKeys;
  /**
   * Whether all changes can be made now, in their order. If {@link apply} follows, then in the same
   * turn.
   *
   * @throws RefusalError that ends the call: `conflict` if a condition does not hold, `budget`
   * without room for a value. Neither for marks.
   */
  check(changes: readonly Change[]): void;
  /** Lets go of what {@link check} made sure of: {@link apply} does not follow. */
  letGo(): void;
  /**
   * Makes changes that were checked; it cannot fail. Later reads see them at once; they are durable
   * with the record that was placed in the same turn.
   */
  apply(changes: readonly Change[]): void;
}

/** The result of recording a change that was checked. Where it throws, the change is let go of. */
export function recorded<T>(collection: Pick<Collection, 'letGo'>, record: () => T): T {
  try {
    return record();
  } catch (error) {
    collection.letGo();
    throw error;
  }
}
