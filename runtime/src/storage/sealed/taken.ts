/** Bytes that places take of a collection's room. */

import { placeBytes, type Room } from '../bounds.ts';
import type { Place } from '../place.ts';
import type { Value } from './row.ts';

/** Bytes that are taken: in all, and by identity. */
export interface Taken {
  size: number;
  readonly of: Map<string, number>;
}

/** Bytes taken, with changes that are only looked at. */
export class Beside {
  readonly #taken: Taken;
  readonly #more: Taken = { size: 0, of: new Map() };

  constructor(taken: Taken) {
    this.#taken = taken;
  }

  count(key: string, place: Place<Value> | undefined, times: 1 | -1): void {
    if (place === undefined) return;
    const by = times * placeBytes(key, place.value?.length);
    this.#more.size += by;
    this.#more.of.set(place.owner, (this.#more.of.get(place.owner) ?? 0) + by);
  }

  /** Whether there is room for a place instead of the one that is held. */
  fits(key: string, held: Place<Value> | undefined, place: Place<Value>, room: Room): boolean {
    const size = placeBytes(key, place.value?.length);
    const freed = held === undefined ? 0 : placeBytes(key, held.value?.length);
    const { owner } = place;
    const own = (this.#taken.of.get(owner) ?? 0) + (this.#more.of.get(owner) ?? 0);
    const all = this.#taken.size + this.#more.size;
    return all - freed + size <= room.collection && own - (held?.owner === owner ? freed : 0) + size <= room.identity;
  }
}

/** Counts a place as taken, or as taken no more. */
export function count(taken: Taken, key: string, place: Place<Value> | undefined, times: 1 | -1): void {
  if (place === undefined) return;
  const by = times * placeBytes(key, place.value?.length);
  taken.size += by;
  const own = (taken.of.get(place.owner) ?? 0) + by;
  if (own > 0) taken.of.set(place.owner, own);
  else taken.of.delete(place.owner);
}
