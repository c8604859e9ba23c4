/**
 * Collections that live in this boot's memory only. Their values are bytes, wiped as soon as they
 * expire.
 */

import { randomBytes } from 'node:crypto';
import { RefusalError } from '../errors.ts';
import type { Json, JsonText } from '../worker/json-text.ts';
import { conflictIn, placeBytes, ROOM, type Room } from './bounds.ts';
import type { Change, Collection, Found, FoundKeys, KeyRange } from './collection.ts';
import { after, at, dueOf, fromStored, type Mutation, type Place, type StoredPlace, toStored } from './place.ts';
import type { IndexedValues, RecordForm } from './record-form.ts';
import { SortedKeys } from './sorted-keys.ts';
import { BLINDING_KEY_BYTES, Blinding, hasTerm, soughtBy } from './terms.ts';

/**
 * Milliseconds between two sweeps for expired values. An expired value is never returned; its bytes
 * are wiped within this time.
 */
const SWEEP_MS = 1000;

/** Options of a collection. By default it is empty. */
export interface CollectionOptions {
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  readonly room?: Room;
  /** By default its records are any JSON. */
  readonly form?: RecordForm | undefined;
  /** A result of {@link VolatileCollection.snapshot}. The clock must have gone on since. */
  readonly places?: Iterable<StoredPlace>;
}

/** A value, or the number of its bytes where it is not made yet. */
type Sized = Pick<Held, 'length'>;

const NO_TERMS = new Uint8Array();

/** A value as JSON in memory of its own, and its blinded terms. Strings could not be wiped. */
class Held {
  readonly bytes: Buffer;
  readonly terms: Uint8Array;

  constructor(text: string, terms: Uint8Array) {
    // They share no buffer with bytes that are wiped at another time.
    this.bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
    this.bytes.write(text);
    this.terms = terms;
  }

  get length(): number {
    return this.bytes.length;
  }

  wipe(): void {
    this.bytes.fill(0);
    this.terms.fill(0);
  }
}

/** Bytes that are taken: in all, and by identity. */
interface Used {
  size: number;
  readonly of: Map<string, number>;
}

/** One collection. */
export class VolatileCollection implements Collection {
  readonly #name: string;
  readonly #retention: number;
  readonly #now: () => number;
  readonly #room: Room;
  readonly form: RecordForm | undefined;
  readonly #blinding: Blinding | undefined;
  readonly #places = new Map<string, Place<Held>>();
  readonly #keys = new SortedKeys();
  readonly #used: Used = { size: 0, of: new Map() };
  /** When the next place expires. */
  #due = Number.POSITIVE_INFINITY;
  #sweeper: NodeJS.Timeout | undefined;
  /** The instant of the last check, for what is applied in the same turn. */
  #checkedAt: number | undefined;

  /** @param retention milliseconds */
  constructor(name: string, retention: number, { now, room = ROOM, form, places = [] }: CollectionOptions) {
    this.#name = name;
    this.#retention = retention;
    this.#now = now;
    this.#room = room;
    this.form = form;
    this.#blinding = form && new Blinding(randomBytes(BLINDING_KEY_BYTES), name, form);
    const heldOf = (text: string): Held => this.#heldOf(text, form?.valuesOf(JSON.parse(text) as Json));
    for (const stored of places) this.#set(stored.key, fromStored(stored, heldOf));
  }

  get(key: string): Found | undefined {
    return this.#at(key, this.#now());
  }

  #at(key: string, now: number): Found | undefined {
    const place = at(this.#places.get(key), now);
    if (place === undefined) return undefined;
    const { value, label, since, version } = place;
    if (value === undefined) return { value, label, since, version: undefined };
    return { value: value.bytes.toString() as JsonText, label, since, version };
  }

  /**
   * **Leak**: what is not named tells as much as what is. So a call that deletes some of many
   * public values leaves its label to all that list the range in which they were.
   */
  list({ prefix, after: last, limit, where }: KeyRange): FoundKeys {
    const now = this.#now();
    const sought = soughtBy(this.#blinding, where);
    const isSought = ({ terms }: Held): boolean => sought === undefined || hasTerm(terms, 0, terms.length, sought);
    const keys: string[] = [];
    const label = new Set<string>();
    for (const key of this.#keys.from(prefix, last)) {
      const place = at(this.#places.get(key), now);
      if (place === undefined) continue;
      const isNamed = place.value !== undefined && isSought(place.value);
      if (isNamed) keys.push(key);
      if (isNamed || /* layer: a page carries what it leaves out */ place.label.length > 0)
        for (const category of place.label) label.add(category);
      if (keys.length >= limit) break;
    }
    return { keys, label: [...label].sort() };
  }

  /**
   * **Leak**: a refusal ends the call. A handler that could try other sizes would measure how much
   * other calls have stored. What it says of room is neither which of the two limits was met, nor
   * whose.
   */
  check(changes: readonly Change[]): void {
    const now = this.#now();
    for (const change of changes) if (isConditional(change)) this.#refuseConflict(change, now);
    this.#checkedAt = now;
    if (this.#fit(changes, now)) return;
    this.sweep(now);
    if (this.#fit(changes, now)) return;
    throw new RefusalError('budget', `there is no room in collection ${this.#name}`, { final: true });
  }

  letGo(): void {
    this.#checkedAt = undefined;
  }

  apply(changes: readonly Change[]): void {
    const isMarks = changes.every(({ kind }) => kind === 'mark-put' || kind === 'mark-delete');
    const now = (isMarks ? undefined : this.#checkedAt) ?? this.#now();
    this.#checkedAt = undefined;
    for (const change of changes) {
      const held = this.#places.get(change.key);
      const value = change.kind === 'put' ? this.#heldOf(change.value, change.indexed) : undefined;
      const place = after(held, this.#mutation(change, value, now), now);
      if (change.kind === 'mark-put' && !this.#fits(change.key, held, place, this.#used)) continue;
      this.#set(change.key, place);
      if (held !== undefined && place === undefined) this.#keys.delete(change.key);
      if (place?.value !== value) value?.wipe();
    }
  }

  /** Wipes every expired value, and forgets every expired place. */
  sweep(now: number = this.#now()): void {
    if (now < this.#due) return;
    this.#due = Number.POSITIVE_INFINITY;
    for (const [key, held] of this.#places) {
      if (dueOf(held) <= now) this.#set(key, at(held, now));
      else this.#due = Math.min(this.#due, dueOf(held));
    }
    this.#keys.keep((key) => this.#places.has(key));
    if (this.#due === Number.POSITIVE_INFINITY) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
  }

  /** All places, in the form in which they would be kept over a restart. */
  snapshot(): StoredPlace[] {
    const now = this.#now();
    return [...this.#places].flatMap(([key, held]) => {
      const place = at(held, now);
      return place === undefined ? [] : [toStored(key, place, ({ bytes }) => bytes.toString())];
    });
  }

  /** A change, on this collection's clock. */
  #mutation<V>(change: Change, value: V | undefined, now: number): Mutation<V> {
    if (change.kind === 'delete' || change.kind === 'mark-delete') return change;
    const since = Math.min(change.since, now);
    const kept = { since, end: since + this.#retention, label: change.label, owner: change.owner };
    if (change.kind === 'mark-put' || value === undefined) return { kind: 'mark-put', ...kept };
    return { kind: 'put', value, version: change.version, ...kept };
  }

  /** @throws RefusalError `conflict`, which ends the call */
  #refuseConflict({ key, ifVersion }: Conditional, now: number): void {
    if ((this.#at(key, now)?.version ?? null) === ifVersion) return;
    throw conflictIn(this.#name);
  }

  /** Whether there is room for all values, each beside what comes before it. */
  #fit(changes: readonly Change[], now: number): boolean {
    const places = new Map<string, Place<Sized> | undefined>();
    const used: Used = { size: this.#used.size, of: new Map(this.#used.of) };
    for (const change of changes) {
      const { key } = change;
      const held = places.has(key) ? places.get(key) : this.#places.get(key);
      const value = change.kind === 'put' ? { length: Buffer.byteLength(change.value) } : undefined;
      const place = after<Sized>(held, this.#mutation<Sized>(change, value, now), now);
      if (!this.#fits(key, held, place, used)) {
        if (change.kind === 'put') return false;
        if (change.kind === 'mark-put') continue;
      }
      places.set(key, place);
      count(used, key, held, -1);
      count(used, key, place, 1);
    }
    return true;
  }

  /** Whether there is room for a place instead of the one that is held. */
  #fits(key: string, held: Place<Sized> | undefined, place: Place<Sized> | undefined, used: Used): boolean {
    if (place === undefined) return true;
    const size = placeBytes(key, place.value?.length);
    const freed = held === undefined ? 0 : placeBytes(key, held.value?.length);
    const own = (used.of.get(place.owner) ?? 0) - (held?.owner === place.owner ? freed : 0);
    return used.size - freed + size <= this.#room.collection && own + size <= this.#room.identity;
  }

  #heldOf(text: string, indexed: IndexedValues | undefined): Held {
    return new Held(text, (indexed && this.#blinding?.termsOf(indexed)) ?? NO_TERMS);
  }

  #set(key: string, place: Place<Held> | undefined): void {
    const held = this.#places.get(key);
    if (held === place) return;
    if (held !== undefined) {
      if (held.value !== place?.value) held.value?.wipe();
      count(this.#used, key, held, -1);
    }
    this.#places.delete(key);
    if (place === undefined) return;
    if (held === undefined) this.#keys.add(key);
    this.#places.set(key, place);
    count(this.#used, key, place, 1);
    this.#due = Math.min(this.#due, dueOf(place));
    if (this.#due < Number.POSITIVE_INFINITY) this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
  }
}

type Conditional = Pick<Extract<Change, { readonly ifVersion?: unknown }>, 'key' | 'ifVersion'>;

function isConditional(change: Change): change is Extract<Change, { readonly ifVersion?: unknown }> {
  return (change.kind === 'put' || change.kind === 'delete') && change.ifVersion !== undefined;
}

/** Counts a place as taken, or as taken no more. */
function count(used: Used, key: string, place: Place<Sized> | undefined, times: 1 | -1): void {
  if (place === undefined) return;
  const by = times * placeBytes(key, place.value?.length);
  used.size += by;
  const own = (used.of.get(place.owner) ?? 0) + by;
  if (own > 0) used.of.set(place.owner, own);
  else used.of.delete(place.owner);
}
