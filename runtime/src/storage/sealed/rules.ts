/**
 * Rules of places that are changed and marked at a call's end, and the bytes they are counted for.
 */

import { RefusalError } from '../../errors.ts';

/**
 * The place of a key. Without one, nothing was ever stored there, or all that it could tell has
 * expired.
 */
export interface Place<V> {
  /** The value; undefined if it was deleted or its end has come. */
  readonly value: V | undefined;
  /** The version of the value; of no meaning without one. */
  readonly version: string | undefined;
  /** When the oldest source of the value was stored. */
  readonly since: number;
  /** The labels of all calls that changed the place, united and sorted. */
  readonly label: readonly string[];
  /** From this time on the place answers as if the value had been deleted. */
  readonly valueEnd: number;
  /** From this time on there is no place. */
  readonly placeEnd: number;
  /**
   * The identity that the room is counted for: that of the last call which stored a value there.
   */
  readonly owner: string;
}

/**
 * A change that a call makes to a place, or meant to make. It has no effect until the holder of the
 * places applies it.
 */
export type Mutation<V> =
  | (Kept & { readonly kind: 'put'; readonly value: V; readonly version: string })
  | (Kept & { readonly kind: 'mark-put' })
  | (Author & { readonly kind: 'delete' })
  | (Author & { readonly kind: 'mark-delete' });

interface Author {
  /** The call's label at its end, sorted. */
  readonly label: readonly string[];
}

/** Facts about what is kept: from when on it counts, and until when. */
interface Kept extends Author {
  readonly since: number;
  readonly end: number;
  readonly owner: string;
}

/** The place as it is at an instant; undefined if there is none. */
export function at<V>(place: Place<V> | undefined, now: number): Place<V> | undefined {
  if (place === undefined || place.placeEnd <= now) return undefined;
  return place.value !== undefined && place.valueEnd <= now ? { ...place, value: undefined } : place;
}

/**
 * The place after a mutation. For as long as there is a place, its label only grows and its end
 * only becomes later. Deleting a place without a value changes nothing. A mark has the same effect
 * on label and end as the change that it stands for, and none on the value.
 *
 * **Leak**: if an end could become earlier, a call that was given a secret could end some of many
 * places early, by overwriting them with values made of something old. Which of them are missing
 * would be a text without a label.
 *
 * **Leak**: that a place exists, and when it ends, tells something of every call that changed it.
 * So a call with an empty label must not remove from the label what another call added.
 */
export function after<V>(place: Place<V> | undefined, mutation: Mutation<V>, now: number): Place<V> | undefined {
  const before = at(place, now);
  const label = before === undefined ? mutation.label : union(before.label, mutation.label);
  if (mutation.kind === 'delete' || mutation.kind === 'mark-delete') {
    if (before?.value === undefined) return before;
    return { ...before, value: mutation.kind === 'delete' ? undefined : before.value, label };
  }
  const { since, end, owner } = mutation;
  const placeEnd = Math.max(end, before?.placeEnd ?? end);
  if (mutation.kind === 'mark-put' && before !== undefined) return { ...before, label, placeEnd };
  const { value, version } = mutation.kind === 'put' ? mutation : { value: undefined, version: undefined };
  return at({ value, version, since, label, valueEnd: end, placeEnd, owner }, now);
}

/** When the place next changes without a mutation. */
export function dueOf({ value, valueEnd, placeEnd }: Place<unknown>): number {
  return value === undefined ? placeEnd : valueEnd;
}

/**
 * Both labels united and sorted. Returns the first itself if the second adds nothing, so that
 * places share it.
 */
function union(old: readonly string[], more: readonly string[]): readonly string[] {
  if (more.every((category) => old.includes(category))) return old;
  return [...new Set([...old, ...more])].sort();
}

/** Bytes counted for a place beside its key and value. */
const PLACE_BYTES = 768;

/** Bytes counted for a place. A key takes two bytes a character if one of them is not Latin-1. */
export function placeBytes(key: string, length = 0): number {
  return PLACE_BYTES + 2 * key.length + length;
}

/** Ends the call: another call was there before it. */
export function conflictIn(collection: string): RefusalError {
  return new RefusalError('conflict', `a record of ${collection} has another version`, { final: true });
}
