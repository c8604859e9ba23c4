/**
 * A place of a store: what is left there, what knowing it carries, and until when. Every store keeps its places by these rules,
 * wherever their values lie, and reads them on one clock that never goes back.
 */

/** A key's place. Where there is none, nothing was ever stored, or all that it could say is over. */
export interface Place<V> {
  /** undefined: it was deleted, or its end has come. */
  readonly value: V | undefined;
  /** When the oldest of what the value was made of was stored. */
  readonly since: number;
  /** What all calls carried that changed the place, sorted. */
  readonly label: readonly string[];
  /** From here on it answers as if the value had been deleted. */
  readonly valueEnd: number;
  /** From here on there is no place. */
  readonly placeEnd: number;
  /** The identity that the room is counted for: the one that stored there last. */
  readonly owner: string;
}

/** What a call does to a place. It does nothing by itself: whoever holds the places applies it, or forgets it. */
export type Mutation<V> =
  | ({ readonly kind: 'put'; readonly value: V; readonly since: number; readonly end: number } & Author)
  | ({ readonly kind: 'delete' } & Pick<Author, 'label'>);

interface Author {
  /** What the call carries, sorted. */
  readonly label: readonly string[];
  readonly owner: string;
}

/** The place as it is at an instant; undefined where there is none. */
export function at<V>(place: Place<V> | undefined, now: number): Place<V> | undefined {
  if (place === undefined || place.placeEnd <= now) return undefined;
  return place.value !== undefined && place.valueEnd <= now ? { ...place, value: undefined } : place;
}

/**
 * The place after a mutation. Its label only grows and its end only moves back, for as long as there is a place:
 *
 * - a call that was given a secret could otherwise end some of many places early, by writing over them what it made of something
 *   old, and which of them are missing would be a text without a label;
 * - when a place ends, and that it is there, says something of every call that changed it: also a call that carries nothing can
 *   therefore not take from the label what another left there.
 *
 * Deleting where no value is changes nothing, and so says nothing.
 */
export function after<V>(place: Place<V> | undefined, mutation: Mutation<V>, now: number): Place<V> | undefined {
  const before = at(place, now);
  if (mutation.kind === 'delete') {
    if (before?.value === undefined) return before;
    return { ...before, value: undefined, label: union(before.label, mutation.label) };
  }
  const { value, since, end, owner } = mutation;
  const label = before === undefined ? mutation.label : union(before.label, mutation.label);
  const placeEnd = Math.max(end, before?.placeEnd ?? end);
  return at({ value, since, label, valueEnd: end, placeEnd, owner }, now);
}

/** When the next thing happens to a place by itself. */
export function dueOf({ value, valueEnd, placeEnd }: Place<unknown>): number {
  return value === undefined ? placeEnd : valueEnd;
}

/** A place in a form that JSON keeps. Instants are those of the store's clock, which has to go on where it stopped. */
export interface StoredPlace {
  readonly key: string;
  /** The value's own text; null: there is none. */
  readonly value: string | null;
  readonly since: number;
  readonly label: readonly string[];
  /** null: never. */
  readonly valueEnd: number | null;
  readonly placeEnd: number | null;
  readonly owner: string;
}

/** Writes a place down. */
export function toStored<V>(key: string, place: Place<V>, text: (value: V) => string): StoredPlace {
  const { value, since, label, valueEnd, placeEnd, owner } = place;
  const ends = { valueEnd: orNull(valueEnd), placeEnd: orNull(placeEnd) };
  return { key, value: value === undefined ? null : text(value), since, label, ...ends, owner };
}

/** Reads one that {@link toStored} wrote. What comes from a disk was authenticated before. */
export function fromStored<V>(stored: StoredPlace, value: (text: string) => V): Place<V> {
  const { since, label, valueEnd, placeEnd, owner } = stored;
  const ends = { valueEnd: valueEnd ?? Number.POSITIVE_INFINITY, placeEnd: placeEnd ?? Number.POSITIVE_INFINITY };
  return { value: stored.value === null ? undefined : value(stored.value), since, label, ...ends, owner };
}

function orNull(end: number): number | null {
  return Number.isFinite(end) ? end : null;
}

/** Both, sorted; the first itself where the second adds nothing, so that places share it. */
function union(old: readonly string[], more: readonly string[]): readonly string[] {
  if (more.every((category) => old.includes(category))) return old;
  return [...new Set([...old, ...more])].sort();
}
