/**
 * A place of a store: its value, the label of knowing it, and its end. Every store keeps its places
 * by these rules, wherever their values lie, and reads them on one clock that never goes back.
 */

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

/** The time from which a value counts, and its end. */
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
    // layer: deleted places keep a label (off: undefined)
    return { ...before, value: mutation.kind === 'delete' ? undefined : before.value, label };
  }
  const { since, end, owner } = mutation;
  // layer: places end with their last (off: end)
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
 * A place in a form that JSON keeps. Instants are those of the store's clock, which has to go on
 * where it stopped.
 */
export interface StoredPlace {
  readonly key: string;
  /** The value's own text; null if there is none. */
  readonly value: string | null;
  readonly version: string | null;
  readonly since: number;
  readonly label: readonly string[];
  /** When the value ends; null for never. */
  readonly valueEnd: number | null;
  readonly placeEnd: number | null;
  readonly owner: string;
}

/** A place in its stored form. */
export function toStored<V>(key: string, place: Place<V>, text: (value: V) => string): StoredPlace {
  const { value, version = null, since, label, valueEnd, placeEnd, owner } = place;
  const ends = { valueEnd: orNull(valueEnd), placeEnd: orNull(placeEnd) };
  const content = value === undefined ? { value: null, version: null } : { value: text(value), version };
  return { key, ...content, since, label, ...ends, owner };
}

/** Reads a place that {@link toStored} wrote. Text from a disk was authenticated before. */
export function fromStored<V>(stored: StoredPlace, value: (text: string) => V): Place<V> {
  const { since, label, valueEnd, placeEnd, owner } = stored;
  const ends = { valueEnd: valueEnd ?? Number.POSITIVE_INFINITY, placeEnd: placeEnd ?? Number.POSITIVE_INFINITY };
  return {
    value: stored.value === null ? undefined : value(stored.value),
    version: stored.version ?? undefined,
    ...{ since, label, ...ends, owner },
  };
}

function orNull(end: number): number | null {
  return Number.isFinite(end) ? end : null;
}

/**
 * Both labels united and sorted. Returns the first itself if the second adds nothing, so that
 * places share it.
 */
function union(old: readonly string[], more: readonly string[]): readonly string[] {
  if (more.every((category) => old.includes(category))) return old;
  return [...new Set([...old, ...more])].sort();
}
