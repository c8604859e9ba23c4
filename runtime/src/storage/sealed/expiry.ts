/** Ends of what is stored: places are forgotten, with their keys, once their retention is over. */

import type { IndexedPlace, IndexTable } from './index-table.ts';
import type { SealedCollection } from './sealed-collection.ts';

/** Rows that are looked at together. */
const SLICE_ROWS = 256;

/** The sweep of a store. An expired value is never returned, swept or not. */
export class Expiry {
  readonly #table: IndexTable;
  readonly #kept: readonly SealedCollection[];
  /** An instant before which nothing ends. */
  #due: number;

  /** @param kept all collections, by number */
  constructor(table: IndexTable, kept: readonly SealedCollection[]) {
    this.#table = table;
    this.#kept = kept;
    this.#due = table.nextDue();
  }

  /** Hears when a place next changes by itself. */
  due(at: number): void {
    this.#due = Math.min(this.#due, at);
  }

  /**
   * Holds what is stored to a retention that has become shorter.
   *
   * @param retentions of before, by number of their collection
   */
  shorten(retentions: readonly (number | null)[], now: number): void {
    const shorter = retentions.map(
      (before, i) => (this.#kept[i]?.facts.retention ?? 0) < (before ?? Number.POSITIVE_INFINITY),
    );
    if (!shorter.includes(true)) return;
    let after: IndexedPlace | undefined;
    while (true) {
      const rows = this.#table.places(after, SLICE_ROWS);
      for (const { collection, key, place } of rows) {
        const kept = this.#kept[collection];
        if (kept === undefined || shorter[collection] !== true) continue;
        const { retention } = kept.facts;
        const valueEnd = Math.min(place.valueEnd, place.since + retention);
        // A place without a value goes on to tell what label it has.
        const placeEnd = Math.min(place.placeEnd, Math.floor(now) + retention);
        const isLive = place.value !== undefined;
        kept.replay(key, { ...place, valueEnd, placeEnd: isLive ? Math.max(valueEnd, placeEnd) : placeEnd });
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < SLICE_ROWS) break;
      after = last;
    }
    this.#due = this.#table.nextDue();
  }

  /** Forgets what has expired, with its keys. */
  sweep(now: number): void {
    if (now < this.#due) return;
    for (let rows = this.#table.due(now, SLICE_ROWS); rows.length > 0; rows = this.#table.due(now, SLICE_ROWS)) {
      let count = 0;
      for (const { collection, key } of rows) if (this.#kept[collection]?.expire(key, now)) count++;
      if (count === 0) break;
    }
    this.#due = this.#table.nextDue();
  }
}
