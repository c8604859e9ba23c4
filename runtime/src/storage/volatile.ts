/**
 * Collections that live in this boot's memory only. Their values are bytes, wiped as soon as they
 * expire.
 */

import { ANYONE } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';
import { type Json, type JsonText, jsonText } from '../worker/json-text.ts';
import { after, at, dueOf, fromStored, type Mutation, type Place, type StoredPlace, toStored } from './place.ts';

/** The content of a place where something is stored, or was. */
export interface Stored {
  /** The value's JSON; undefined if it was deleted or is past its retention. */
  readonly value: JsonText | undefined;
  /**
   * The label of knowing this content: everything that the calls carried which stored or deleted
   * something there.
   */
  readonly label: readonly string[];
  /**
   * When the oldest of its sources was first stored: milliseconds of the monotonic clock, which the
   * host cannot turn back.
   */
  readonly since: number;
}

/** The origin of a value, and the owner whose room it takes. */
export interface Made {
  /**
   * When the oldest source of the value was stored. Its retention continues from there. Default:
   * now.
   */
  readonly since?: number;
  /** The identity whose room it takes. Callers without an identity share that of one. */
  readonly owner?: string;
  /** Bytes that the call may still store. Default: the limit of a whole call. */
  readonly most?: number;
}

/**
 * Bytes that may be held, in all and by one identity.
 *
 * **Bound**: without the second, one identity could fill a collection alone.
 */
export interface Room {
  readonly collection: number;
  readonly identity: number;
}

const ROOM: Room = { collection: 64 * 1024 * 1024, identity: 16 * 1024 * 1024 };
/**
 * Bytes that one call may store, {@link PLACE_BYTES} included. It takes 32 calls to use up an
 * identity's room.
 */
export const MAX_BYTES_PER_CALL: number = 512 * 1024;
/** Bytes of a value as JSON, in which numbers may be longer than they were written. */
const MAX_VALUE_BYTES = 256 * 1024;
/**
 * Bytes counted for a place beside its key and value: at least what it takes
 * (runtime/test/store.test.ts).
 */
const PLACE_BYTES = 768;
const MAX_KEY_CHARS = 256;
/**
 * Milliseconds between two sweeps for expired values. An expired value is never returned; its bytes
 * are wiped within this time.
 */
const SWEEP_MS = 1000;

/** Options of a collection. By default it is empty and on the kernel's clock. */
export interface CollectionOptions {
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  readonly room?: Room;
  /** A result of {@link VolatileCollection.snapshot}. The clock must have gone on since. */
  readonly places?: Iterable<StoredPlace>;
}

/** One collection. */
export class VolatileCollection {
  readonly #name: string;
  readonly #retention: number;
  readonly #now: () => number;
  readonly #room: Room;
  /** Values by key, as JSON in memory of their own. Strings of the engine could not be wiped. */
  readonly #places = new Map<string, Place<Buffer>>();
  /** Bytes by identity. */
  readonly #used = new Map<string, number>();
  #size = 0;
  /** When the next place expires. */
  #due = Number.POSITIVE_INFINITY;
  #sweeper: NodeJS.Timeout | undefined;

  /** @param retention milliseconds */
  constructor(name: string, retention: number, options: CollectionOptions = {}) {
    const {
      now = () => /* layer: retention by the kernel's count */ performance.now(),
      room = ROOM,
      places = [],
    } = options;
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
    return { value: value === undefined ? undefined : (value.toString() as JsonText), label, since };
  }

  /**
   * Stores a value.
   *
   * **Leak**: without room, the call ends. A handler that could try other sizes would measure how
   * much other calls have stored.
   *
   * @returns the bytes that it is counted for
   * @throws RefusalError `grant` for an unusable key; `budget` for a value that is too large, and,
   * ending the call, if the call, its identity or the collection has no room left
   */
  put(key: string, value: Json, label: readonly string[], made: Made = {}): number {
    const { since = Number.POSITIVE_INFINITY, owner = ANYONE, most = MAX_BYTES_PER_CALL } = made;
    if (key.length === 0 || key.length > MAX_KEY_CHARS)
      throw new RefusalError('grant', `a key of ${key.length} characters`);
    const text = jsonText(value);
    const length = Buffer.byteLength(text);
    if (length > MAX_VALUE_BYTES) throw new RefusalError('budget', `a value of more than ${MAX_VALUE_BYTES} bytes`);
    const size = sizeOf(key, length);
    // layer: bytes that a call stores
    if (size > most)
      throw new RefusalError(
        'budget',
        `a call stores no more than ${MAX_BYTES_PER_CALL} bytes`,
        /* layer: no room for a call ends it (off: undefined) */ { final: true },
      );
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
   * Replaces an entry by a tombstone with the labels of the entry and of the deleting call.
   *
   * **Leak**: without it, a call could delete some of many public entries, and the gaps would spell
   * what it had read.
   */
  delete(key: string, label: readonly string[]): void {
    this.#change(key, { kind: 'delete', label });
  }

  /**
   * Keys, sorted, and the label of knowing them: that of every entry that they name, and of every
   * tombstone.
   */
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

  /** Wipes every expired value, and forgets every expired place. */
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

  /** All places, in the form in which they would be kept over a restart. */
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
    // **Leak**: the refusal says neither which of the two limits was met, nor whose.
    if (full())
      throw new RefusalError(
        'budget',
        `there is no room in collection ${this.#name}`,
        /* layer: no room in a collection ends the call (off: undefined) */ { final: true },
      );
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

/**
 * Text as bytes in memory of their own. They share no buffer with bytes that are wiped at another
 * time.
 */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** Bytes counted for a place. A key takes two bytes a character if one of them is not Latin-1. */
function sizeOf(key: string, length = 0): number {
  return PLACE_BYTES + 2 * key.length + length;
}
