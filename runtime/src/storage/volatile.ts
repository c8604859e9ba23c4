/** Collections that live in this boot's memory only: places whose values are bytes, wiped as soon as they are over. */

import { ANYONE } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import type { Json } from '../worker/protocol.ts';
import { after, at, dueOf, fromStored, type Mutation, type Place, type StoredPlace, toStored } from './place.ts';

/** What is found in a place where something is stored, or was. */
export interface Stored {
  /** undefined: it was deleted, or is past its retention. */
  readonly value: Json | undefined;
  /** What knowing it carries: what all calls carried that stored or deleted something there. */
  readonly label: readonly string[];
  /** When the oldest of what it was made of was first stored: milliseconds of the monotonic clock, which the host cannot turn back. */
  readonly since: number;
}

/** Who stores something, and of what. */
export interface Made {
  /** Since when the oldest is stored that the value was made of: its retention goes on from there. By default it is of now. */
  readonly since?: number;
  /** Whose room it takes. Callers without an identity share that of one. */
  readonly owner?: string;
  /** Bytes that the call may still store, by default as many as a whole call. */
  readonly most?: number;
}

/** Bytes that may be held, of which one identity has a part, so that nobody fills a collection alone. */
export interface Room {
  readonly collection: number;
  readonly identity: number;
}

const ROOM: Room = { collection: 64 * 1024 * 1024, identity: 16 * 1024 * 1024 };
/** Bytes that one call may store, what they are counted beside included: it takes 32 calls to use up what an identity has. */
export const MOST_OF_CALL: number = 512 * 1024;
/** Of a value as JSON. Numbers may be longer than they were written. */
const LARGEST_VALUE = 256 * 1024;
/** What a place is counted beside its key and bytes: at least what it takes (runtime/test/store.test.ts). */
const PLACE_BYTES = 768;
const LONGEST_KEY = 256;
/** Milliseconds between two looks for what is over. It answers as over at once; its bytes are wiped by then. */
const SWEEP_MS = 1000;

/** What a collection starts with, where that is not an empty one on the kernel's clock. */
export interface CollectionOptions {
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  readonly room?: Room;
  /** What {@link VolatileCollection.snapshot} said, on a clock that went on since. */
  readonly places?: Iterable<StoredPlace>;
}

/** One collection. */
export class VolatileCollection {
  readonly #name: string;
  readonly #retention: number;
  readonly #now: () => number;
  readonly #room: Room;
  /** Values are JSON in memory of their own: as text of the engine's nobody could wipe them. */
  readonly #places = new Map<string, Place<Buffer>>();
  /** Bytes by identity. */
  readonly #used = new Map<string, number>();
  #size = 0;
  /** When the next thing is over. */
  #due = Number.POSITIVE_INFINITY;
  #sweeper: NodeJS.Timeout | undefined;

  /** @param retention milliseconds */
  constructor(name: string, retention: number, options: CollectionOptions = {}) {
    const { now = () => performance.now(), room = ROOM, places = [] } = options;
    this.#name = name;
    this.#retention = retention;
    this.#now = now;
    this.#room = room;
    for (const stored of places) this.#set(stored.key, fromStored(stored, bytesOf));
  }

  get(key: string): Stored | undefined {
    const place = at(this.#places.get(key), this.#now());
    if (place === undefined) return undefined;
    const { value, label, since } = place;
    return { value: value === undefined ? undefined : (JSON.parse(value.toString()) as Json), label, since };
  }

  /**
   * @returns the bytes that it is counted for
   * @throws RefusalError `grant` for an unusable key; `budget` for a value that is too large, and, ending the call, where the call,
   * its identity or the collection has no room left: by trying other sizes a handler would find out how much others have stored
   */
  put(key: string, value: Json, label: readonly string[], made: Made = {}): number {
    const { since = Number.POSITIVE_INFINITY, owner = ANYONE, most = MOST_OF_CALL } = made;
    if (key.length === 0 || key.length > LONGEST_KEY)
      throw new RefusalError('grant', `a key of ${key.length} characters`);
    const text = JSON.stringify(value);
    const length = Buffer.byteLength(text);
    if (length > LARGEST_VALUE) throw new RefusalError('budget', `a value of more than ${LARGEST_VALUE} bytes`);
    const size = sizeOf(key, length);
    if (size > most)
      throw new RefusalError('budget', `a call stores no more than ${MOST_OF_CALL} bytes`, { final: true });
    this.#makeRoom(key, size, owner);
    const from = Math.min(since, this.#now());
    this.#change(key, {
      kind: 'put',
      value: bytesOf(text),
      since: from,
      end: from + this.#retention,
      label,
      owner,
    });
    return size;
  }

  /**
   * Deletes what is there. That it is missing says what the call carried that deleted it, where others that are still there say
   * nothing: so the place keeps a label.
   */
  delete(key: string, label: readonly string[]): void {
    this.#change(key, { kind: 'delete', label });
  }

  /** Keys, sorted, and the label of knowing them: that of everything they name, and of what is missing. */
  list(): { keys: string[]; label: string[] } {
    const now = this.#now();
    const keys: string[] = [];
    const label = new Set<string>();
    for (const [key, held] of this.#places) {
      const place = at(held, now);
      if (place === undefined) continue;
      if (place.value !== undefined) keys.push(key);
      for (const category of place.label) label.add(category);
    }
    return { keys: keys.sort(), label: [...label].sort() };
  }

  /** Wipes every value that is over, and forgets every place that is. */
  sweep(): void {
    const now = this.#now();
    if (now < this.#due) return;
    this.#due = Number.POSITIVE_INFINITY;
    for (const [key, held] of this.#places) {
      if (dueOf(held) <= now) this.#set(key, at(held, now));
      else this.#due = Math.min(this.#due, dueOf(held));
    }
    if (this.#due === Number.POSITIVE_INFINITY) {
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }
  }

  /** Every place that there is, as it would be kept over a restart. */
  snapshot(): StoredPlace[] {
    const now = this.#now();
    return [...this.#places].flatMap(([key, held]) => {
      const place = at(held, now);
      return place === undefined ? [] : [toStored(key, place, (value) => value.toString())];
    });
  }

  /** @throws RefusalError `budget`, which ends the call */
  #makeRoom(key: string, size: number, owner: string): void {
    const full = (): boolean => {
      const held = this.#places.get(key);
      const freed = held === undefined ? 0 : sizeOf(key, held.value?.length);
      const own = (this.#used.get(owner) ?? 0) - (held?.owner === owner ? freed : 0);
      return this.#size - freed + size > this.#room.collection || own + size > this.#room.identity;
    };
    if (!full()) return;
    this.sweep();
    // Not which of the two, nor whose.
    if (full()) throw new RefusalError('budget', `there is no room in collection ${this.#name}`, { final: true });
  }

  #change(key: string, mutation: Mutation<Buffer>): void {
    this.#set(key, after(this.#places.get(key), mutation, this.#now()));
    if (mutation.kind === 'put' && this.#places.get(key)?.value !== mutation.value) mutation.value.fill(0);
  }

  #set(key: string, place: Place<Buffer> | undefined): void {
    const held = this.#places.get(key);
    if (held === place) return;
    if (held !== undefined) {
      if (held.value !== place?.value) held.value?.fill(0);
      this.#count(held.owner, -sizeOf(key, held.value?.length));
      this.#places.delete(key);
    }
    if (place === undefined) return;
    this.#places.set(key, place);
    this.#count(place.owner, sizeOf(key, place.value?.length));
    this.#due = Math.min(this.#due, dueOf(place));
    if (this.#due < Number.POSITIVE_INFINITY) this.#sweeper ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  #count(owner: string, by: number): void {
    this.#size += by;
    const used = (this.#used.get(owner) ?? 0) + by;
    if (used > 0) this.#used.set(owner, used);
    else this.#used.delete(owner);
  }
}

/** Text in memory of its own, which shares nothing with what is not wiped together with it. */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** A key takes two bytes for a character where one of them is not Latin. */
function sizeOf(key: string, length = 0): number {
  return PLACE_BYTES + 2 * key.length + length;
}
