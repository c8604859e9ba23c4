/** Ends of what is stored: places are forgotten, with their keys, once their retention is over. */

import { setImmediate as turn } from 'node:timers/promises';
import type { IndexedPlace, IndexTable } from './index-table.ts';
import type { SealedCollection } from './sealed-collection.ts';

/** Rows that are looked at together. */
const SLICE_ROWS = 256;
/**
 * Rows that the turn of a call looks at, so that there is room for it.
 *
 * **Bound**: all that was stored within a second can end within one. Without this, the call that
 * then finds no room would hold up every other one for as long as all of it takes.
 */
export const MAX_SWEPT_ROWS: number = 8 * SLICE_ROWS;
const SECOND_MS = 1000;

/** A row that was looked at, without its place: that has the key of its value. */
type Looked = Pick<IndexedPlace, 'collection' | 'key'>;

/** The sweep of a store. An expired value is never returned, swept or not. */
export class Expiry {
  readonly #table: IndexTable;
  readonly #kept: readonly SealedCollection[];
  /** An instant before which nothing ends. */
  #due: number;
  #sweeping: Promise<void> | undefined;
  /** The last row that {@link sweep} has looked at; undefined if it was at the end. */
  #at: Looked | undefined;
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

  /**
   * Forgets what has expired, with its keys: of {@link MAX_SWEPT_ROWS} rows in this turn of the
   * loop, and of more in the next ones.
   */
  sweep(now: number): void {
    if (now < this.#due) return;
    let isFromBegin = this.#at === undefined;
    for (let looked = 0; looked < MAX_SWEPT_ROWS; looked += SLICE_ROWS) {
      this.#at = this.#slice(now, this.#at);
      if (this.#at !== undefined) continue;
      if (isFromBegin) break;
      isFromBegin = true;
    }
    this.#due = this.#table.nextDue();
    if (this.#at !== undefined) void turn().then(() => this.sweepInTurns(now));
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
    let at: Looked | undefined;
    while (!this.#isOver) {
      at = this.#slice(now, at);
      if (at === undefined) break;
      await turn();
    }
    if (!this.#isOver) this.#due = this.#table.nextDue();
  }

  /**
   * Forgets what has expired of some rows behind another one. What waits to be durable is passed
   * over: else what waits, often the same places again and again, would keep all behind it.
   *
   * @returns the last row that was looked at; undefined at the end
   */
  #slice(now: number, after: Looked | undefined): Looked | undefined {
    const rows = this.#table.due(now, SLICE_ROWS, after);
    for (const { collection, key } of rows) this.#kept[collection]?.expire(key, now);
    const last = rows.at(-1);
    return last === undefined || rows.length < SLICE_ROWS ? undefined : { collection: last.collection, key: last.key };
  }
}
