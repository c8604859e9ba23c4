/**
 * The index of sealed state: a table in memory with a row for each place that is durable, and what
 * is known of all of them together.
 */

import { DatabaseSync, type StatementSync } from 'node:sqlite';
import type { Place } from '../place.ts';
import { keyOf, type NamedPlace, REST_BYTES, type Row, RowCodec, type Value } from './row.ts';

/** A row with the place it is about. */
export interface IndexedRow extends Row {
  readonly collection: number;
  readonly key: Uint8Array;
}

/** A place that was looked up. */
export interface IndexedPlace {
  readonly collection: number;
  readonly key: Uint8Array;
  readonly place: Place<Value>;
}

/** Live values in a stretch of the journal. */
export interface Extent {
  /** Position of the first block with one of them. */
  block: number;
  count: number;
}

type Named = [key: string, due: number | null, tag: number];
type Raw = [collection: number, key: Uint8Array, due: number | null, tag: number, rest: Uint8Array];

/** Extents that a journal has, about. **Bound**: they are in memory, and on the disk. */
const EXTENTS = 1024;
const MIN_EXTENT_BYTES = 4096;
/** Bytes counted for a row beside its key: what the table has for one, pages that are full. */
const ROW_BYTES = 110;
/** Bytes of a character of a key, at most. */
const MAX_KEY_CHAR_BYTES = 3;
/** Bytes of a row in a slot, at most, beside its key. */
const SLOT_ROW_BYTES = 17 + REST_BYTES;
/** Bytes of an extent in a slot, at most: three numbers of a journal's positions. */
const SLOT_EXTENT_BYTES = 48;
/** Bytes of an owner in a slot, for each collection, beside its name. */
const SLOT_USED_BYTES = 24;
/** Bytes of a collection in a slot, beside its name. */
const SLOT_COLLECTION_BYTES = 128;
/** Bytes of a state's name in a slot, and of the way that it came: registers of two launches. */
const SLOT_LINEAGE_BYTES = 2048;
/** Stands for bytes that are no text. */
const REPLACED = '\ufffd';
const FROM: readonly [number, Uint8Array] = [-1, new Uint8Array()];

/** The table. Its memory is overwritten where rows are deleted. */
export class IndexTable {
  readonly codec: RowCodec = new RowCodec();
  /** Live values by stretch of the journal. */
  readonly extents: Map<number, Extent> = new Map();
  #db: DatabaseSync = new DatabaseSync(':memory:', { limits: { attach: 0 } });
  readonly #extentBytes: number;
  /** Extents that a journal has at once, at most. */
  readonly #extents: number;
  #collections: readonly string[] = [];
  #rows = 0;
  #bytes = 0;
  #changed: Map<string, readonly [number, Uint8Array]> | undefined;
  /** Bytes of rows that went since changes are noted. */
  #gone = 0;
  #statements: Statements;

  /** @param journal bytes of the journal that values lie in */
  constructor(journal: number) {
    this.#extentBytes = Math.max(MIN_EXTENT_BYTES, Math.floor(journal / EXTENTS));
    // A ring begins within one, and ends within another.
    this.#extents = Math.ceil(journal / this.#extentBytes) + 2;
    this.#db.exec(PRAGMAS);
    this.#db.exec(TABLE);
    this.#db.exec(ENDS);
    this.#statements = prepared(this.#db);
  }

  get rows(): number {
    return this.#rows;
  }

  /** Bytes that its rows take, about. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Names the collections whose places it has. */
  names(collections: readonly string[]): void {
    this.#collections = collections;
  }

  /**
   * Bytes that a slot needs, at most, for all rows that are there, or were since changes are noted.
   * A row may be written twice: as it was found, and again because it changed meanwhile.
   */
  get slotBytes(): number {
    const rows = this.#bytes + this.#gone - this.#rows * (ROW_BYTES - SLOT_ROW_BYTES);
    const { labels, owners } = this.codec;
    const collections = this.#collections.reduce((sum, name) => sum + 6 * name.length + SLOT_COLLECTION_BYTES, 0);
    const used = this.#collections.length * (owners.bytes + SLOT_USED_BYTES * owners.texts.length);
    const names = labels.bytes + owners.bytes + collections + SLOT_LINEAGE_BYTES;
    return 2 * rows + names + used + SLOT_EXTENT_BYTES * this.#extents;
  }

  /** Bytes by which a row of a key would make that more, at most. */
  slotCost(key: string): number {
    return 2 * (SLOT_ROW_BYTES + MAX_KEY_CHAR_BYTES * key.length);
  }

  /**
   * Bytes by which names that no row has would make that more, at most.
   *
   * @param known names that were counted already; those of the place are added
   */
  nameCost({ label, owner }: Pick<Place<Value>, 'label' | 'owner'>, known: Set<string>): number {
    const { labels, owners } = this.codec;
    const text = JSON.stringify(label);
    const [own, more] = [known.has(owner) ? 0 : owners.costOf(owner), known.has(text) ? 0 : labels.costOf(text)];
    known.add(owner).add(text);
    return more + (own === 0 ? 0 : own + this.#collections.length * (own + SLOT_USED_BYTES));
  }

  /** Takes the names of a place that is to have a row. */
  know({ label, owner }: Pick<Place<Value>, 'label' | 'owner'>): void {
    this.codec.labels.numberOf(JSON.stringify(label));
    this.codec.owners.numberOf(owner);
  }

  get(collection: number, key: Uint8Array): Place<Value> | undefined {
    const raw = this.#statements.get.get(collection, key) as unknown as [number | null, number, Uint8Array] | undefined;
    return raw === undefined ? undefined : this.codec.unpack({ due: raw[0], tag: raw[1], rest: raw[2] });
  }

  /**
   * Sets a row.
   *
   * @param block position of the block that has the value; absent if the value is where it was
   * @returns what it was before
   */
  set(collection: number, key: Uint8Array, place: Place<Value>, block?: number): Place<Value> | undefined {
    const position = place.value?.position ?? 0;
    const begin = block ?? this.extents.get(this.extentOf(position))?.block ?? position;
    const held = this.#leave(collection, key);
    const { due, tag, rest } = this.codec.pack(place);
    this.#statements.set.run(collection, key, due, tag, rest);
    this.#rows++;
    this.#bytes += ROW_BYTES + key.length;
    if (place.value !== undefined) this.#enter(position, begin);
    this.#note(collection, key);
    return held;
  }

  /** Removes a row. @returns what it was before */
  remove(collection: number, key: Uint8Array): Place<Value> | undefined {
    const held = this.#leave(collection, key);
    if (held === undefined) return undefined;
    this.#statements.remove.run(collection, key);
    if (this.#changed !== undefined) this.#gone += SLOT_ROW_BYTES + key.length;
    this.#note(collection, key);
    return held;
  }

  /** Names of a collection's places from one key up to another, in the order of their keys. */
  range(collection: number, low: Uint8Array, high: Uint8Array, limit: number): NamedPlace[] {
    const named = this.#statements.names.all(collection, low, high, limit) as unknown as Named[];
    // Halves of pairs are no text of the database's.
    if (!named.some(([key]) => key.includes(REPLACED)))
      return named.map(([key, due, tag]) => this.codec.outline(key, due, tag));
    const rows = this.#statements.range.all(collection, low, high, limit) as unknown as Raw[];
    return rows.map(([, key, due, tag]) => this.codec.outline(keyOf(key), due, tag));
  }

  /** Rows behind another one, at most so many. */
  slice(after: readonly [number, Uint8Array] | undefined, limit: number): IndexedRow[] {
    const rows = this.#statements.slice.all(...(after ?? FROM), limit) as unknown as Raw[];
    return rows.map(([collection, key, due, tag, rest]) => ({ collection, key, due, tag, rest }));
  }

  /** The same as places. */
  places(after: readonly [number, Uint8Array] | undefined, limit: number): IndexedPlace[] {
    return (this.#statements.slice.all(...(after ?? FROM), limit) as unknown as Raw[]).map((row) =>
      this.#unpacked(row),
    );
  }

  /** Places that have changed by themselves, at most so many. */
  due(now: number, limit: number): IndexedPlace[] {
    return (this.#statements.due.all(now, limit) as unknown as Raw[]).map((row) => this.#unpacked(row));
  }

  /** When the next row changes by itself. */
  nextDue(): number {
    const [due] = this.#statements.next.get() as unknown as [number | null];
    return due ?? Number.POSITIVE_INFINITY;
  }

  /** How the database looks for what has ended, and for what ends next. */
  get plans(): readonly string[] {
    const explained = ({ sourceSQL }: StatementSync, ...values: readonly number[]): string[] =>
      (this.#db.prepare(`explain query plan ${sourceSQL}`).all(...values) as unknown as { detail: string }[]).map(
        ({ detail }) => detail,
      );
    return [...explained(this.#statements.due, 0, 1), ...explained(this.#statements.next)];
  }

  /** Begins to note which rows change. */
  watch(): void {
    this.#changed = new Map();
  }

  /** Rows that changed since, and ends to note them; those that went have no row. */
  unwatch(): { readonly collection: number; readonly key: Uint8Array; readonly row: IndexedRow | undefined }[] {
    const changed = [...(this.#changed?.values() ?? [])];
    this.#changed = undefined;
    this.#gone = 0;
    return changed.map(([collection, key]) => {
      const raw = this.#statements.get.get(collection, key) as unknown as
        | [number | null, number, Uint8Array]
        | undefined;
      const row = raw && { collection, key, due: raw[0], tag: raw[1], rest: raw[2] };
      return { collection, key, row };
    });
  }

  /** Sets a row as a slot has it, whose values {@link extents} count already. */
  restore({ collection, key, due, tag, rest }: IndexedRow): void {
    this.forget(collection, key);
    this.#statements.set.run(collection, key, due, tag, rest);
  }

  forget(collection: number, key: Uint8Array): void {
    this.#statements.remove.run(collection, key);
  }

  /** All rows as the image of a database. **Cost**: it is copied at once. */
  image(): Uint8Array {
    return this.#db.serialize();
  }

  /** Takes an image in place of its rows. **Trust**: it was authenticated before. */
  load(image: Uint8Array): void {
    this.#db.deserialize(image);
    this.#db.exec(PRAGMAS);
    this.#db.exec(ENDS);
    this.#statements = prepared(this.#db);
  }

  /** Counts anew what was restored. */
  recount({ rows, bytes }: { readonly rows: number; readonly bytes: number }): void {
    this.#rows = rows;
    this.#bytes = bytes;
  }

  /** Position of the oldest block that has a live value. */
  get oldest(): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { block } of this.extents.values()) oldest = Math.min(oldest, block);
    return oldest;
  }

  /** Number of the stretch of the journal that a position lies in. */
  extentOf(position: number): number {
    return Math.floor(position / this.#extentBytes);
  }

  /** Has everything done in one go. */
  together(work: () => void): void {
    this.#db.exec('begin');
    try {
      work();
    } finally {
      this.#db.exec('commit');
    }
  }

  close(): void {
    this.#db.exec('delete from place');
    this.#db.close();
  }

  #unpacked([collection, key, due, tag, rest]: Raw): IndexedPlace {
    return { collection, key, place: this.codec.unpack({ due, tag, rest }) };
  }

  /** Takes a row out of what is counted. */
  #leave(collection: number, key: Uint8Array): Place<Value> | undefined {
    const place = this.get(collection, key);
    if (place === undefined) return undefined;
    this.#rows--;
    this.#bytes -= ROW_BYTES + key.length;
    if (place.value === undefined) return place;
    const number = this.extentOf(place.value.position);
    const extent = this.extents.get(number);
    if (extent !== undefined && --extent.count === 0) this.extents.delete(number);
    return place;
  }

  #enter(position: number, block: number): void {
    const number = this.extentOf(position);
    const extent = this.extents.get(number) ?? { block, count: 0 };
    extent.block = Math.min(extent.block, block);
    extent.count++;
    this.extents.set(number, extent);
  }

  #note(collection: number, key: Uint8Array): void {
    this.#changed?.set(`${collection} ${Buffer.from(key).toString('latin1')}`, [collection, key]);
  }
}

/** Before the first row, and again where an image took their place. */
const PRAGMAS = 'pragma secure_delete = on; pragma temp_store = memory; pragma journal_mode = off;';
const TABLE =
  'create table place (c integer, k blob, due integer, tag integer, rest blob, primary key (c, k)) without rowid';
/**
 * Rows by when they next change by themselves.
 *
 * **Cost**: 29 bytes a row, and three quarters of a row's insertion. Without it, each look for what
 * has ended would go through all rows: 12 ms of the loop for 100 000.
 */
const ENDS = 'create index if not exists ends on place (due) where due is not null';
const COLUMNS = 'select c, k, due, tag, rest from place';

function prepared(db: DatabaseSync): Statements {
  const statement = (text: string): StatementSync => {
    const made = db.prepare(text);
    made.setReturnArrays(true);
    return made;
  };
  return {
    get: statement('select due, tag, rest from place where c = ? and k = ?'),
    set: statement('insert or replace into place values (?, ?, ?, ?, ?)'),
    remove: statement('delete from place where c = ? and k = ?'),
    names: statement('select cast(k as text), due, tag from place where c = ? and k >= ? and k < ? order by k limit ?'),
    range: statement(`${COLUMNS} where c = ? and k >= ? and k < ? order by k limit ?`),
    slice: statement(`${COLUMNS} where (c, k) > (?, ?) order by c, k limit ?`),
    due: statement(`${COLUMNS} where due <= ? order by due limit ?`),
    next: statement('select min(due) from place where due is not null'),
  };
}

type Statements = Record<'get' | 'set' | 'remove' | 'names' | 'range' | 'slice' | 'due' | 'next', StatementSync>;
