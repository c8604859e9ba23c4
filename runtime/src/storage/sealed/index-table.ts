/**
 * The index of sealed state: a table in memory with a row for each place that is durable, and what
 * is known of all of them together.
 */

import type { Place } from '../place.ts';
import type { SoughtTerm } from '../terms.ts';
import { PackedRows } from './packed-rows.ts';
import { collectionOf, type NamedPlace, Names, namedBy, ROW_BYTES, RowCodec, rowName, type Value } from './row.ts';
import { NEVER, ROW_PREFIX_BYTES, type RowAt } from './row-bytes.ts';

/** A place that was looked up. */
export interface IndexedPlace {
  readonly collection: number;
  readonly key: string;
  readonly place: Place<Value>;
}

/** Live values in a stretch of the journal. */
export interface Extent {
  /** Position of the first block with one of them. */
  block: number;
  count: number;
}

/** A collection whose places a table has, by its number. */
export interface TableCollection {
  readonly name: string;
  /** Bytes of the terms of a record, which each of its rows is counted with. */
  readonly terms: number;
}

/** Rows that changed while that was noted. */
export interface ChangedRows {
  /** Rows that are there, one behind the other. */
  readonly rows: Buffer;
  /** Names of those that went. */
  readonly gone: readonly Uint8Array[];
}

/** Names of the rows of an index by their numbers, with the number of rows and their bytes. */
interface RestoredNames {
  readonly rows: number;
  readonly bytes: number;
  readonly labels: readonly (string | null)[];
  readonly owners: readonly (string | null)[];
}

/** Extents that a journal has, about. **Bound**: they are in memory, and on the disk. */
const EXTENTS = 1024;
const MIN_EXTENT_BYTES = 4096;
/** Bytes of a character of a key, at most. */
const MAX_KEY_CHAR_BYTES = 3;
/** Bytes of an extent in a slot, at most: three numbers of a journal's positions. */
const SLOT_EXTENT_BYTES = 48;
/** Bytes of an owner in a slot, for each collection, beside its name. */
const SLOT_USED_BYTES = 24;
/** Bytes of a collection in a slot, beside its name, and of the shape of its records. */
const SLOT_COLLECTION_BYTES = 128;
const SLOT_SHAPE_BYTES = 80;
/** Bytes of the key of all blinded terms in a slot. */
const SLOT_BLINDING_BYTES = 64;
/** Bytes of a state's name in a slot, and of the way that it came: registers of two launches. */
const SLOT_LINEAGE_BYTES = 2048;
const FIRST = new Uint8Array();

/**
 * The table. Its memory is overwritten where rows are deleted.
 *
 * **Cost**: beside a table of `node:sqlite` in memory, which it was, a row that is looked up or set
 * takes a part of the processor (docs/contribute/benchmarks.md, "Stored state").
 */
export class IndexTable {
  readonly codec: RowCodec = new RowCodec();
  /** Live values by stretch of the journal. */
  readonly extents: Map<number, Extent> = new Map();
  readonly #packed = new PackedRows();
  readonly #extentBytes: number;
  /** Extents that a journal has at once, at most. */
  readonly #extents: number;
  #collections: readonly TableCollection[] = [];
  #rows = 0;
  #bytes = 0;
  /** Names of rows that changed since that is noted, by themselves as text. */
  #changed: Map<string, Uint8Array> | undefined;
  /** Bytes of rows that went since changes are noted. */
  #gone = 0;
  #isClosed = false;

  /** @param journal bytes of the journal that values lie in */
  constructor(journal: number) {
    this.#extentBytes = Math.max(MIN_EXTENT_BYTES, Math.floor(journal / EXTENTS));
    // A ring begins within one, and ends within another.
    this.#extents = Math.ceil(journal / this.#extentBytes) + 2;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Bytes that its rows have in a slot, at most. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of memory that its rows take. */
  get memory(): number {
    return this.#packed.memory;
  }

  /** Names the collections whose places it has. */
  names(collections: readonly TableCollection[]): void {
    this.#collections = collections;
  }

  /**
   * Bytes that a slot needs, at most, for all rows that are there, or were since changes are noted.
   * A row may be written twice: as it was found, and again because it changed meanwhile.
   */
  get slotBytes(): number {
    const rows = this.#bytes + this.#gone;
    const { labels, owners } = this.codec;
    const collections = this.#collections.reduce((sum, each) => sum + slotBytesOf(each), SLOT_BLINDING_BYTES);
    const used = this.#collections.length * (owners.bytes + SLOT_USED_BYTES * owners.count);
    const names = labels.bytes + owners.bytes + collections + SLOT_LINEAGE_BYTES;
    return 2 * rows + names + used + SLOT_EXTENT_BYTES * this.#extents;
  }

  /** Bytes by which a row of a key would make that more, at most. */
  slotCost(collection: number, key: string): number {
    return 2 * (ROW_BYTES + this.#termsOf(collection) + MAX_KEY_CHAR_BYTES * key.length);
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

  /** Holds the names of a place that is to have a row, until {@link letGo}. */
  hold(place: Pick<Place<Value>, 'label' | 'owner'>): void {
    this.codec.hold(place);
  }

  letGo(place: Pick<Place<Value>, 'label' | 'owner'>): void {
    this.codec.letGo(place);
  }

  /** The place of a row's name. */
  get(name: Uint8Array): Place<Value> | undefined {
    const row = this.#packed.get(name);
    return row && this.codec.unpack(row);
  }

  /**
   * Sets a row.
   *
   * @param block position of the block that has the value; absent if the value is where it was
   * @returns what it was before
   */
  set(name: Uint8Array, place: Place<Value>, block?: number): Place<Value> | undefined {
    if (this.#isClosed) throw new TypeError('an index that is closed');
    const position = place.value?.position ?? 0;
    const begin = block ?? this.extents.get(this.extentOf(position))?.block ?? position;
    // Before the row that it replaces lets go of the same names.
    this.codec.hold(place);
    const held = this.#leave(name);
    this.codec.packed(name, place, (row) => this.#packed.set(row));
    this.#rows++;
    this.#bytes += this.#sizeOf(name);
    if (place.value !== undefined) this.#enter(position, begin);
    this.#note(name);
    return held;
  }

  /** Removes a row. @returns what it was before */
  remove(name: Uint8Array): Place<Value> | undefined {
    const held = this.#leave(name);
    if (held === undefined) return undefined;
    this.#packed.remove(name);
    if (this.#changed !== undefined) this.#gone += this.#sizeOf(name);
    this.#note(name);
    return held;
  }

  /**
   * Outlines of the places from a name on that have a prefix, in the order of their keys.
   *
   * @param prefix of names
   * @param limit how many, at most
   * @param sought a term that their outlines tell of
   */
  range(from: Uint8Array, prefix: Uint8Array, limit: number, sought?: SoughtTerm): NamedPlace[] {
    const found: NamedPlace[] = [];
    this.#packed.each(from, (row) => {
      if (!hasPrefix(row, prefix)) return false;
      found.push(this.codec.outline(row, sought));
      return found.length < limit;
    });
    return found;
  }

  /** Places behind another one, at most so many. */
  places(after: Pick<IndexedPlace, 'collection' | 'key'> | undefined, limit: number): IndexedPlace[] {
    const found: IndexedPlace[] = [];
    const name = after === undefined ? FIRST : rowName(after.collection, after.key);
    this.#packed.each(name, (row) => {
      const each = this.#unpacked(row);
      if (each.key !== after?.key || each.collection !== after.collection) found.push(each);
      return found.length < limit;
    });
    return found;
  }

  /**
   * Places behind another one that have changed by themselves, at most so many, in the order of
   * their keys.
   */
  due(now: number, limit: number, after?: Pick<IndexedPlace, 'collection' | 'key'>): IndexedPlace[] {
    const found: IndexedPlace[] = [];
    const name = after === undefined ? FIRST : rowName(after.collection, after.key);
    this.#packed.due(now, name, (row) => found.push(this.#unpacked(row)) < limit);
    return found;
  }

  /** An instant before which no row changes by itself. */
  nextDue(): number {
    const { least } = this.#packed;
    return least === NEVER ? Number.POSITIVE_INFINITY : least;
  }

  /** Begins to note which rows change. */
  watch(): void {
    this.#changed = new Map();
  }

  /** Rows that changed since, and ends to note them. */
  unwatch(): ChangedRows {
    const names = [...(this.#changed?.values() ?? [])];
    this.#changed = undefined;
    this.#gone = 0;
    const rows: Buffer[] = [];
    const gone: Uint8Array[] = [];
    for (const name of names) {
      const row = this.#packed.get(name);
      if (row === undefined) gone.push(name);
      else rows.push(row.bytes.subarray(row.name - ROW_PREFIX_BYTES, row.end));
    }
    return { rows: Buffer.concat(rows), gone };
  }

  /**
   * Rows behind a name, or the first ones, as they lie in memory: a view that the next change ends.
   * None if there are no more.
   */
  behind(name: Uint8Array = FIRST): { readonly rows: Buffer; readonly last: Uint8Array } | undefined {
    return this.#packed.behind(name);
  }

  /**
   * Sets rows as a slot has them, whose values {@link extents} count already.
   *
   * @throws RefusalError `state` for bytes that are no rows
   */
  load(rows: Buffer): void {
    this.#packed.load(rows);
  }

  /** Removes a row as a slot says. */
  forget(name: Uint8Array): void {
    this.#packed.remove(name);
  }

  /** Counts anew what was restored, and takes the names of its rows. */
  restore({ rows, bytes, labels, owners }: RestoredNames): void {
    this.#rows = rows;
    this.#bytes = bytes;
    const { codec } = this;
    codec.labels = new Names(labels);
    codec.owners = new Names(owners);
    this.#packed.bodies((row, body) => codec.holdRow(row, body));
    codec.labels.settle();
    codec.owners.settle();
  }

  /** Counts the bytes of its rows anew, as their collections' indexes are now. */
  recountBytes(): void {
    this.#bytes = 0;
    this.#packed.each(FIRST, ({ bytes, name, body }) => {
      this.#bytes += this.#sizeOf(bytes.subarray(name, body));
      return true;
    });
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

  /** Overwrites all rows: none is set any more. */
  close(): void {
    this.#isClosed = true;
    this.#packed.wipe();
  }

  #unpacked(row: RowAt): IndexedPlace {
    return { ...namedBy(row), place: this.codec.unpack(row) };
  }

  /** Takes a row out of what is counted. */
  #leave(name: Uint8Array): Place<Value> | undefined {
    const row = this.#packed.get(name);
    if (row === undefined) return undefined;
    const place = this.codec.unpack(row);
    this.codec.letGoRow(row);
    this.#rows--;
    this.#bytes -= this.#sizeOf(name);
    if (place.value === undefined) return place;
    const number = this.extentOf(place.value.position);
    const extent = this.extents.get(number);
    if (extent !== undefined && --extent.count === 0) this.extents.delete(number);
    return place;
  }

  /** Bytes that the row of a name is counted with, whether or not it has terms at present. */
  #sizeOf(name: Uint8Array): number {
    return ROW_BYTES + name.length + this.#termsOf(collectionOf(name));
  }

  #termsOf(collection: number): number {
    return this.#collections[collection]?.terms ?? 0;
  }

  #enter(position: number, block: number): void {
    const number = this.extentOf(position);
    const extent = this.extents.get(number);
    if (extent === undefined) {
      this.extents.set(number, { block, count: 1 });
      return;
    }
    extent.block = Math.min(extent.block, block);
    extent.count++;
  }

  #note(name: Uint8Array): void {
    this.#changed?.set(Buffer.from(name).toString('latin1'), name);
  }
}

function slotBytesOf({ name, terms }: TableCollection): number {
  return 6 * name.length + SLOT_COLLECTION_BYTES + (terms > 0 ? SLOT_SHAPE_BYTES : 0);
}

function hasPrefix({ bytes, name, body }: RowAt, prefix: Uint8Array): boolean {
  if (body - name < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (bytes[name + i] !== prefix[i]) return false;
  return true;
}
