/**
 * Rows of bytes in the order of their names, packed into pages of memory. What leaves a page is
 * overwritten there at once.
 */

import {
  bodyAt,
  compareName,
  compareRows,
  dueAt,
  MAX_ROW_BYTES,
  NEVER,
  nameLength,
  ROW_PREFIX_BYTES,
  type RowAt,
  rowAt,
  rowEnd,
} from './row-bytes.ts';

/** Bytes of a page, with the offsets of its rows. */
export const PAGE_BYTES = 8192;
const OFFSET_BYTES = 2;
/** Pages that are taken from the engine at once, as a power of two. */
const SEGMENT_BITS = 5;
const SEGMENT_PAGES: number = 2 ** SEGMENT_BITS;
/** A page with less is joined with a neighbour, if both together have at most the second. */
const SPARSE_BYTES: number = PAGE_BYTES / 4;
const JOINED_BYTES: number = PAGE_BYTES / 2;

/** A position: the number of a page in the order of rows, and of a row in it. */
interface Spot {
  readonly page: number;
  readonly row: number;
  readonly found: boolean;
}

/** Memory of some pages. */
interface Segment {
  readonly bytes: Buffer;
  /** The same as words: from the end of a page back stand the offsets of its rows. */
  readonly words: Uint16Array;
}

/**
 * The rows.
 *
 * **Cost**: nothing is written for the order of ends. Each page knows an instant before which none
 * of its rows is due, so a look for what is due reads 8 bytes for each page where none is.
 */
export class PackedRows {
  readonly #segments: Segment[] = [];
  /** Pages in the order of their rows, by their number in memory. None is empty. */
  #order = new Uint32Array(SEGMENT_PAGES);
  #pages = 0;
  readonly #free: number[] = [];
  /** By number of a page in memory: bytes of its rows, how many, and when none is due yet. */
  #used = new Uint16Array();
  #counts = new Uint16Array();
  #due = new Float64Array();
  /** The row that was added last: what comes in order fills pages. */
  #last = { id: 0, row: -1 };

  /** Bytes of memory that they take. */
  get memory(): number {
    const facts = [this.#order, this.#used, this.#counts, this.#due].reduce((sum, each) => sum + each.byteLength, 0);
    return this.#segments.length * SEGMENT_PAGES * PAGE_BYTES + facts;
  }

  /** The row of a name. */
  get(name: Uint8Array): RowAt | undefined {
    const { page, row, found } = this.#find(name);
    return found ? this.#at(this.#idOf(page), row) : undefined;
  }

  /** Sets a row. @throws RangeError if it is larger than any */
  set(row: Uint8Array): void {
    if (row.length > MAX_ROW_BYTES) throw new RangeError(`a row of ${row.length} bytes`);
    const name = row.subarray(ROW_PREFIX_BYTES, ROW_PREFIX_BYTES + nameLength(row, 0));
    const spot = this.#find(name);
    const id = this.#idOf(spot.page);
    const held = spot.found ? this.#at(id, spot.row) : undefined;
    if (held !== undefined && held.end - held.name + ROW_PREFIX_BYTES === row.length) {
      held.bytes.set(row, held.name - ROW_PREFIX_BYTES);
      this.#note(id, row);
      return;
    }
    if (held !== undefined) this.#remove(spot);
    this.#insert(held === undefined ? spot : this.#find(name), row);
  }

  /** Removes a row, if there is one. */
  remove(name: Uint8Array): void {
    const spot = this.#find(name);
    if (spot.found) this.#remove(spot);
  }

  /** Hears of rows from a name on, in order, until it returns false. It changes none. */
  each(from: Uint8Array, onRow: (row: RowAt) => boolean): void {
    let { page, row } = this.#find(from);
    for (; page < this.#pages; page++, row = 0) {
      const id = this.#idOf(page);
      for (const count = this.#counts[id] as number; row < count; row++) if (!onRow(this.#at(id, row))) return;
    }
  }

  /** Hears where the body of each row begins. **Cost**: nothing is made for a row. */
  bodies(onBody: (bytes: Buffer, body: number) => void): void {
    for (let page = 0; page < this.#pages; page++) {
      const id = this.#idOf(page);
      const [bytes, base] = [this.#bytesOf(id), baseOf(id)];
      for (let row = 0; row < (this.#counts[id] as number); row++)
        onBody(bytes, bodyAt(bytes, base + this.#offset(id, row)));
    }
  }

  /** Rows behind a name that one page has, as a view, and the name of the last; none at the end. */
  behind(name: Uint8Array): { readonly rows: Buffer; readonly last: Uint8Array } | undefined {
    const spot = this.#find(name);
    let [page, row] = [spot.page, spot.found ? spot.row + 1 : spot.row];
    if (page < this.#pages && row === this.#counts[this.#idOf(page)]) [page, row] = [page + 1, 0];
    if (page >= this.#pages) return undefined;
    const id = this.#idOf(page);
    const last = this.#at(id, (this.#counts[id] as number) - 1);
    const copy = Uint8Array.prototype.slice.call(last.bytes, last.name, last.body);
    return { rows: this.#rowsOf(id).subarray(this.#offset(id, row)), last: copy };
  }

  /**
   * Hears of rows behind a name that are due at an instant, in order, until it returns false. It
   * changes none.
   */
  due(now: number, name: Uint8Array, onRow: (row: RowAt) => boolean): void {
    const spot = this.#find(name);
    let first = spot.found ? spot.row + 1 : spot.row;
    for (let { page } = spot; page < this.#pages; page++, first = 0) {
      const id = this.#idOf(page);
      if ((this.#due[id] as number) > now) continue;
      let least = NEVER;
      for (let row = 0; row < (this.#counts[id] as number); row++) {
        const at = this.#at(id, row);
        const due = dueAt(at.bytes, at.body);
        least = Math.min(least, due);
        if (due <= now && row >= first && !onRow(at)) return;
      }
      this.#due[id] = least;
    }
  }

  /** An instant before which no row is due; {@link NEVER} if none ever is. */
  get least(): number {
    let least = NEVER;
    for (let page = 0; page < this.#pages; page++) least = Math.min(least, this.#due[this.#idOf(page)] as number);
    return least;
  }

  /**
   * Sets rows that lie one behind the other. Those that sort behind all are copied by the page.
   *
   * @throws RefusalError `state` for bytes that are no rows
   */
  load(rows: Buffer): void {
    for (let at = 0; at < rows.length; ) {
      const end = this.#append(rows, at);
      const next = end > at ? end : rowEnd(rows, at);
      if (end === at) this.set(rows.subarray(at, next));
      at = next;
    }
  }

  /** Overwrites and forgets all. */
  wipe(): void {
    for (const { bytes } of this.#segments) bytes.fill(0);
    while (this.#pages > 0) this.#free.push(this.#idOf(--this.#pages));
  }

  /** Copies rows behind the last, while they are in order and fit into its page or a new one. */
  #append(rows: Buffer, from: number): number {
    const first = rowEnd(rows, from);
    let id = this.#pages > 0 ? this.#idOf(this.#pages - 1) : -1;
    // The row before, by the bytes that it lies in: in memory, then among those that are set.
    let last: Buffer | undefined;
    let lastAt = 0;
    if (id >= 0) {
      last = this.#bytesOf(id);
      lastAt = baseOf(id) + this.#offset(id, (this.#counts[id] as number) - 1);
    }
    if (last !== undefined && compareRows(rows, from, last, lastAt) <= 0) return from;
    if (id < 0 || !this.#fits(id, first - from)) {
      id = this.#taken();
      this.#place(this.#pages, id);
    }
    const [used, words, end] = [this.#used[id] as number, this.#wordsOf(id), wordsEnd(id)];
    let [count, due, at] = [this.#counts[id] as number, this.#due[id] as number, from];
    while (at < rows.length) {
      const next = rowEnd(rows, at);
      if (used + next - from + (count + 1) * OFFSET_BYTES > PAGE_BYTES) break;
      if (last !== undefined && compareRows(rows, at, last, lastAt) <= 0) break;
      words[end - ++count] = used + at - from;
      due = Math.min(due, dueAt(rows, bodyAt(rows, at)));
      [last, lastAt] = [rows, at];
      at = next;
    }
    this.#bytesOf(id).set(rows.subarray(from, at), baseOf(id) + used);
    this.#facts(id, used + at - from, count, due);
    return at;
  }

  /** The spot of a name, or the one that a row of it would get. */
  #find(name: Uint8Array): Spot {
    if (this.#pages === 0) return { page: 0, row: 0, found: false };
    // The last page that does not begin behind it.
    let [low, high] = [1, this.#pages];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(name, this.#idOf(middle), 0) < 0) high = middle;
      else low = middle + 1;
    }
    const page = low - 1;
    const id = this.#idOf(page);
    [low, high] = [0, this.#counts[id] as number];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const by = this.#compare(name, id, middle);
      if (by === 0) return { page, row: middle, found: true };
      if (by < 0) high = middle;
      else low = middle + 1;
    }
    return { page, row: low, found: false };
  }

  #compare(name: Uint8Array, id: number, row: number): number {
    return compareName(name, this.#bytesOf(id), baseOf(id) + this.#offset(id, row));
  }

  #insert({ page, row }: Spot, bytes: Uint8Array): void {
    if (this.#pages === 0) this.#place(0, this.#taken());
    let [id, at] = [this.#idOf(page), row];
    if (!this.#fits(id, bytes.length)) {
      const count = this.#counts[id] as number;
      const isNext = this.#last.id === id && this.#last.row === at - 1;
      const isBehind = at === count && (isNext || page === this.#pages - 1);
      const split = isBehind ? count : this.#middle(id);
      this.#split(page, split);
      if (isBehind || at > split) [id, at] = [this.#idOf(page + 1), at - split];
    }
    this.#open(id, at, bytes.length);
    this.#bytesOf(id).set(bytes, baseOf(id) + this.#offset(id, at));
    this.#note(id, bytes);
    this.#last = { id, row: at };
  }

  /** Makes room for a row of so many bytes. */
  #open(id: number, row: number, length: number): void {
    const [count, used, base] = [this.#counts[id] as number, this.#used[id] as number, baseOf(id)];
    const offset = row < count ? this.#offset(id, row) : used;
    this.#bytesOf(id).copyWithin(base + offset + length, base + offset, base + used);
    const [words, end] = [this.#wordsOf(id), wordsEnd(id)];
    for (let i = count; i > row; i--) words[end - i - 1] = (words[end - i] as number) + length;
    words[end - row - 1] = offset;
    this.#used[id] = used + length;
    this.#counts[id] = count + 1;
  }

  #remove({ page, row }: Spot): void {
    const id = this.#idOf(page);
    const [count, used, base] = [this.#counts[id] as number, this.#used[id] as number, baseOf(id)];
    const from = this.#offset(id, row);
    const to = row + 1 < count ? this.#offset(id, row + 1) : used;
    const bytes = this.#bytesOf(id);
    bytes.copyWithin(base + from, base + to, base + used);
    bytes.fill(0, base + used - (to - from), base + used);
    const [words, end] = [this.#wordsOf(id), wordsEnd(id)];
    for (let i = row + 1; i < count; i++) words[end - i] = (words[end - i - 1] as number) - (to - from);
    this.#used[id] = used - (to - from);
    this.#counts[id] = count - 1;
    this.#last.row = -1;
    if (count === 1) this.#drop(page);
    else if ((this.#used[id] as number) < SPARSE_BYTES) this.#join(page);
  }

  /** Moves the rows of a page from one on to a new page behind it. */
  #split(page: number, row: number): void {
    const [id, next] = [this.#idOf(page), this.#taken()];
    this.#place(page + 1, next);
    if (row === this.#counts[id]) return;
    const from = this.#offset(id, row);
    const moved = this.#rowsOf(id).subarray(from);
    this.#adopt(next, moved);
    moved.fill(0);
    this.#facts(id, from, row, this.#due[id] as number);
  }

  /** Adds rows that lie one behind the other to the end of a page. */
  #adopt(id: number, rows: Buffer): void {
    const [used, words, end] = [this.#used[id] as number, this.#wordsOf(id), wordsEnd(id)];
    let [count, due] = [this.#counts[id] as number, this.#due[id] as number];
    for (let at = 0; at < rows.length; ) {
      const row = rowAt(rows, at);
      words[end - ++count] = used + at;
      due = Math.min(due, dueAt(rows, row.body));
      at = row.end;
    }
    this.#bytesOf(id).set(rows, baseOf(id) + used);
    this.#facts(id, used + rows.length, count, due);
  }

  /** Joins a page with a neighbour, if both have little. */
  #join(page: number): void {
    for (const left of [page, page - 1]) {
      if (left < 0 || left + 1 >= this.#pages) continue;
      const [id, other] = [this.#idOf(left), this.#idOf(left + 1)];
      if ((this.#used[id] as number) + (this.#used[other] as number) > JOINED_BYTES) continue;
      this.#adopt(id, this.#rowsOf(other));
      this.#drop(left + 1);
      return;
    }
  }

  /** The first row of the second half of a page. */
  #middle(id: number): number {
    let row = 1;
    while (row + 1 < (this.#counts[id] as number) && this.#offset(id, row) < (this.#used[id] as number) / 2) row++;
    return row;
  }

  #note(id: number, row: Uint8Array): void {
    const due = dueAt(row, ROW_PREFIX_BYTES + nameLength(row, 0));
    if (due < (this.#due[id] as number)) this.#due[id] = due;
  }

  #fits(id: number, length: number): boolean {
    const offsets = ((this.#counts[id] as number) + 1) * OFFSET_BYTES;
    return (this.#used[id] as number) + length + offsets <= PAGE_BYTES;
  }

  /** An empty page. */
  #taken(): number {
    if (this.#free.length === 0) this.#grow();
    const id = this.#free.pop() as number;
    this.#facts(id, 0, 0, NEVER);
    return id;
  }

  #grow(): void {
    const pages = this.#segments.length * SEGMENT_PAGES;
    const bytes = Buffer.alloc(SEGMENT_PAGES * PAGE_BYTES);
    this.#segments.push({ bytes, words: new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2) });
    for (let id = pages + SEGMENT_PAGES; id > pages; id--) this.#free.push(id - 1);
    if (pages + SEGMENT_PAGES <= this.#used.length) return;
    const room = Math.max(pages + SEGMENT_PAGES, Math.floor(1.25 * pages));
    this.#used = grown(this.#used, new Uint16Array(room));
    this.#counts = grown(this.#counts, new Uint16Array(room));
    this.#due = grown(this.#due, new Float64Array(room));
  }

  /** Gives a page its place in the order. */
  #place(page: number, id: number): void {
    if (this.#pages === this.#order.length)
      this.#order = grown(this.#order, new Uint32Array(Math.ceil(1.25 * this.#pages)));
    this.#order.copyWithin(page + 1, page, this.#pages);
    this.#order[page] = id;
    this.#pages++;
  }

  /** Takes a page out of the order, and overwrites it. */
  #drop(page: number): void {
    const id = this.#idOf(page);
    this.#bytesOf(id).fill(0, baseOf(id), baseOf(id) + PAGE_BYTES);
    this.#order.copyWithin(page, page + 1, this.#pages);
    this.#pages--;
    this.#free.push(id);
  }

  #facts(id: number, used: number, count: number, due: number): void {
    this.#used[id] = used;
    this.#counts[id] = count;
    this.#due[id] = due;
  }

  #idOf(page: number): number {
    return this.#order[page] as number;
  }

  #bytesOf(id: number): Buffer {
    return (this.#segments[id >>> SEGMENT_BITS] as Segment).bytes;
  }

  #wordsOf(id: number): Uint16Array {
    return (this.#segments[id >>> SEGMENT_BITS] as Segment).words;
  }

  #rowsOf(id: number): Buffer {
    return this.#bytesOf(id).subarray(baseOf(id), baseOf(id) + (this.#used[id] as number));
  }

  /** Where a row begins in its page. */
  #offset(id: number, row: number): number {
    return this.#wordsOf(id)[wordsEnd(id) - row - 1] as number;
  }

  #at(id: number, row: number): RowAt {
    return rowAt(this.#bytesOf(id), baseOf(id) + this.#offset(id, row));
  }
}

/** Where a page begins in its segment. */
function baseOf(id: number): number {
  return (id & (SEGMENT_PAGES - 1)) * PAGE_BYTES;
}

/** Where it ends, in words. */
function wordsEnd(id: number): number {
  return ((id & (SEGMENT_PAGES - 1)) + 1) * (PAGE_BYTES / OFFSET_BYTES);
}

function grown<T extends Uint16Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
