/** Ends of what is stored: places are forgotten, with their keys, once their retention is over. */

import { setImmediate as turn } from 'node:timers/promises';
import type { IndexedPlace, IndexTable } from './index-table.ts';
import type { SealedCollection } from './sealed-collection.ts';

/** Rows that are looked at together. */
const SLICE_ROWS = 256;
const SECOND_MS = 1000;

/** The sweep of a store. An expired value is never returned, swept or not. */
export class Expiry {
  readonly #table: IndexTable;
  readonly #kept: readonly SealedCollection[];
  /** An instant before which nothing ends. */
  #due: number;
  #sweeping: Promise<void> | undefined;
  #isOver = false;

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

  /** Forgets what has expired, with its keys, in this turn of the loop. */
  sweep(now: number): void {
    if (now < this.#due) return;
    while (this.#sweepSlice(now)) {}
    this.#due = this.#table.nextDue();
  }

  /** The same, some in each turn. Never rejects; what is under way is waited for. */
  sweepInTurns(now: number): Promise<void> {
    this.#sweeping ??= this.#sweepAll(now).finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  /** Ends with the turn in which it is. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#sweeping;
  }

  /**
   * The instant by which every value has gone whose end came by then, to a second: what the index
   * has still, and what waits to be durable, ends later.
   */
  goneUntil(now: number): number {
    // Looks anew where rows that were due have gone.
    this.#table.due(now, 1);
    const next = Math.min(this.#table.nextDue(), ...this.#kept.map((kept) => kept.nextDue()));
    // layer: final are ends that were met (off: now)
    const until = Math.min(now, Math.ceil(next) - 1);
    return Math.max(0, Math.floor(until / SECOND_MS) * SECOND_MS);
  }

  async #sweepAll(now: number): Promise<void> {
    if (now < this.#due) return;
    while (!this.#isOver && this.#sweepSlice(now)) await turn();
    if (!this.#isOver) this.#due = this.#table.nextDue();
  }

  /** Forgets some of what has expired. Returns whether there may be more. */
  #sweepSlice(now: number): boolean {
    let count = 0;
    for (const { collection, key } of this.#table.due(now, SLICE_ROWS))
      if (this.#kept[collection]?.expire(key, now)) count++;
    return count > 0;
  }
}
