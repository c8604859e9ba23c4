/**
 * Rows of the index: one place each, as few bytes as can be. Values are not among them, but the
 * keys under which the disk has them.
 */

import { dueOf, type Place } from '../place.ts';
import { hasTerm, type SoughtTerm } from '../terms.ts';
import { DUE_BYTES, dueAt, NEVER, ROW_PREFIX_BYTES, type RowAt } from './row-bytes.ts';
import { KEY_BYTES } from './seals.ts';

/** A value: where the disk has it, and under which key. */
export interface Value {
  /** Bytes of its JSON. */
  readonly length: number;
  readonly key: Uint8Array;
  /** Blinded terms of its indexed fields; undefined where its collection has no index. */
  readonly terms?: Uint8Array | undefined;
  /** Position of its sealed bytes in the journal; -1 until they are durable. */
  position: number;
  /** Its JSON, until it is durable. */
  bytes: Buffer | undefined;
}

/** Bytes of a number in a slot that stands for nothing: `null` and what parts it from the next. */
const HOLE_BYTES = 5;

/**
 * Numbers that stand for texts that many rows share. A number whose text nothing holds any more
 * stands for another one later.
 *
 * **Bound**: callers choose what labels there are, and come under ever new names. Without this, all
 * that there ever were would take the room of what is stored.
 */
export class Names {
  readonly #texts: (string | null)[];
  readonly #numbers = new Map<string, number>();
  /** Rows, and places that are to have one, by the number of their text. */
  readonly #holders: number[] = [];
  readonly #free: number[] = [];
  #bytes = 0;

  /** @param texts by their numbers; null where a number stands for none. Nothing holds them yet */
  constructor(texts: readonly (string | null)[] = []) {
    this.#texts = [...texts];
    for (const [number, text] of texts.entries()) {
      this.#bytes += text === null ? HOLE_BYTES : costOf(text);
      if (text !== null) this.#numbers.set(text, number);
      else this.#free.push(number);
      this.#holders.push(0);
    }
  }

  /** By number; null where one stands for none. */
  get texts(): readonly (string | null)[] {
    return this.#texts;
  }

  /** Texts that numbers stand for. */
  get count(): number {
    return this.#numbers.size;
  }

  /** Holds a text until it is let go of as often. */
  hold(text: string): void {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#texts.length;
      this.#bytes += costOf(text) - (number < this.#texts.length ? HOLE_BYTES : 0);
      this.#texts[number] = text;
      this.#numbers.set(text, number);
    }
    this.#holders[number] = (this.#holders[number] ?? 0) + 1;
  }

  /** Holds the text of a number once more. */
  holdNumber(number: number): void {
    this.textOf(number);
    this.#holders[number] = (this.#holders[number] as number) + 1;
  }

  /** Lets go of the text of a number, which is forgotten if nothing else holds it. */
  letGo(number: number): void {
    const [text, holders] = [this.textOf(number), this.#holders[number] ?? 0];
    this.#holders[number] = Math.max(0, holders - 1);
    if (holders > 1) return;
    this.#numbers.delete(text);
    this.#texts[number] = null;
    this.#free.push(number);
    this.#bytes += HOLE_BYTES - costOf(text);
  }

  /** Forgets all texts that nothing holds. */
  settle(): void {
    for (const number of [...this.#numbers.values()]) if (this.#holders[number] === 0) this.letGo(number);
  }

  /** The number of a text that is held. */
  numberOf(text: string): number {
    const number = this.#numbers.get(text);
    if (number === undefined) throw new RangeError('a name that nothing holds');
    return number;
  }

  /** Bytes of all texts, as a slot has them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes by which a text would make that more, at most. */
  costOf(text: string): number {
    return this.#numbers.has(text) ? 0 : costOf(text);
  }

  textOf(number: number): string {
    const text = this.#texts[number];
    if (text === undefined || text === null) throw new RangeError(`name ${number} of ${this.#texts.length}`);
    return text;
  }
}

function costOf(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) + 1;
}

/** A label with the text that it was read from. */
interface ReadLabel {
  readonly text: string;
  readonly label: readonly string[];
}

const HAS_VALUE = 1;
const HAS_PLACE_END = 2;
const HAS_VERSION = 4;
const NUMBER_BYTES = 6;
const NAME_NUMBER_BYTES = 4;
const VERSION_BYTES = 8;
const VALUE_LENGTH_BYTES = 3;
/** Offsets in a body, and behind what each has. */
const LABEL_AT: number = DUE_BYTES;
const FLAGS_AT: number = LABEL_AT + NAME_NUMBER_BYTES;
const SINCE_AT: number = FLAGS_AT + 1;
const OWNER_AT: number = SINCE_AT + NUMBER_BYTES;
const MORE_AT: number = OWNER_AT + NAME_NUMBER_BYTES;
const VALUE_BYTES = NUMBER_BYTES + VALUE_LENGTH_BYTES + KEY_BYTES;
const BODY_BYTES: number = MORE_AT + VERSION_BYTES + NUMBER_BYTES + VALUE_BYTES;
const COLLECTION_BYTES = 2;
/** Bytes of a row, at most, beside its key and its terms. */
export const ROW_BYTES: number = ROW_PREFIX_BYTES + COLLECTION_BYTES + BODY_BYTES;

/** A place without what only its reader needs. */
export interface NamedPlace {
  readonly key: string;
  readonly hasValue: boolean;
  /** Whether its value has the term that is sought; of no meaning where none is. */
  readonly isSought: boolean;
  readonly label: readonly string[];
  /** When it next changes by itself: its value ends, or, if it has none, the place. */
  readonly due: number;
}

/** Packs and unpacks rows with the names that they share. */
export class RowCodec {
  labels: Names = new Names();
  owners: Names = new Names();
  readonly #labels: ReadLabel[] = [];

  /** Where rows are put together. */
  #row: Buffer = Buffer.alloc(ROW_BYTES);

  /** Hears of the row of a place, which is overwritten afterwards. */
  packed(name: Uint8Array, place: Place<Value>, onRow: (row: Uint8Array) => void): void {
    const most = ROW_BYTES + name.length + (place.value?.terms?.length ?? 0);
    if (this.#row.length < most) this.#row = Buffer.alloc(2 * most);
    const body = ROW_PREFIX_BYTES + name.length;
    const end = this.#pack(place, body);
    this.#row.writeUInt16BE(name.length);
    this.#row.writeUInt8(end - body, 2);
    this.#row.set(name, ROW_PREFIX_BYTES);
    onRow(this.#row.subarray(0, end));
    this.#row.fill(0, 0, end);
  }

  #pack(place: Place<Value>, body: number): number {
    const { value, version, since, placeEnd, owner } = place;
    const out = this.#row;
    const due = dueOf(place);
    out.writeUIntBE(endOf(due), body, DUE_BYTES);
    out.writeUInt32BE(this.labels.numberOf(JSON.stringify(place.label)), body + LABEL_AT);
    out[body + FLAGS_AT] =
      (value === undefined ? 0 : HAS_VALUE) |
      (placeEnd === due ? 0 : HAS_PLACE_END) |
      (version === undefined ? 0 : HAS_VERSION);
    out.writeUIntBE(Math.floor(since), body + SINCE_AT, NUMBER_BYTES);
    let at = out.writeUInt32BE(this.owners.numberOf(owner), body + OWNER_AT);
    if (version !== undefined) at += out.write(version, at, 'hex');
    if (placeEnd !== due) at = out.writeUIntBE(endOf(placeEnd), at, NUMBER_BYTES);
    if (value === undefined) return at;
    at = out.writeUIntBE(value.position, at, NUMBER_BYTES);
    at = out.writeUIntBE(value.length, at, VALUE_LENGTH_BYTES);
    out.set(value.key, at);
    at += KEY_BYTES;
    if (value.terms === undefined) return at;
    out.set(value.terms, at);
    return at + value.terms.length;
  }

  /** The place of a row, with a copy of its key. */
  unpack({ bytes, body, end }: RowAt): Place<Value> {
    const flags = bytes[body + FLAGS_AT] as number;
    const due = endAt(bytes, body);
    const label = this.labelOf(bytes.readUInt32BE(body + LABEL_AT));
    const since = bytes.readUIntBE(body + SINCE_AT, NUMBER_BYTES);
    const owner = this.owners.textOf(bytes.readUInt32BE(body + OWNER_AT));
    let at = body + MORE_AT;
    const version = flags & HAS_VERSION ? bytes.toString('hex', at, at + VERSION_BYTES) : undefined;
    if (flags & HAS_VERSION) at += VERSION_BYTES;
    const placeEnd = flags & HAS_PLACE_END ? endAt(bytes, at) : due;
    if (flags & HAS_PLACE_END) at += NUMBER_BYTES;
    let value: Value | undefined;
    if (flags & HAS_VALUE) {
      const position = bytes.readUIntBE(at, NUMBER_BYTES);
      const length = bytes.readUIntBE(at + NUMBER_BYTES, VALUE_LENGTH_BYTES);
      const from = at + NUMBER_BYTES + VALUE_LENGTH_BYTES;
      const behind = from + KEY_BYTES;
      value = {
        position,
        length,
        key: Uint8Array.prototype.slice.call(bytes, from, behind),
        terms: end > behind ? Uint8Array.prototype.slice.call(bytes, behind, end) : undefined,
        bytes: undefined,
      };
    }
    return { value, version, since, label, valueEnd: due, placeEnd, owner };
  }

  /** The outline of a row. **Cost**: a list is made of these alone. */
  outline({ bytes, name, body, end }: RowAt, sought: SoughtTerm | undefined): NamedPlace {
    return {
      key: keyAt(bytes, name + COLLECTION_BYTES, body),
      hasValue: ((bytes[body + FLAGS_AT] as number) & HAS_VALUE) !== 0,
      isSought: sought !== undefined && hasTerm(bytes, termsAt(bytes, body), end, sought),
      label: this.labelOf(bytes.readUInt32BE(body + LABEL_AT)),
      due: endAt(bytes, body),
    };
  }

  /** The label that a number stands for. */
  labelOf(number: number): readonly string[] {
    const text = this.labels.textOf(number);
    const known = this.#labels[number];
    if (known?.text === text) return known.label;
    const label = JSON.parse(text) as string[];
    this.#labels[number] = { text, label };
    return label;
  }

  /** Holds the names of a place. */
  hold({ label, owner }: Pick<Place<Value>, 'label' | 'owner'>): void {
    this.labels.hold(JSON.stringify(label));
    this.owners.hold(owner);
  }

  /** Lets go of them. */
  letGo({ label, owner }: Pick<Place<Value>, 'label' | 'owner'>): void {
    this.labels.letGo(this.labels.numberOf(JSON.stringify(label)));
    this.owners.letGo(this.owners.numberOf(owner));
  }

  /** Holds the names of a row that was read. */
  holdRow(bytes: Buffer, body: number): void {
    this.labels.holdNumber(bytes.readUInt32BE(body + LABEL_AT));
    this.owners.holdNumber(bytes.readUInt32BE(body + OWNER_AT));
  }

  /** Lets go of the names of a row. */
  letGoRow({ bytes, body }: RowAt): void {
    this.labels.letGo(bytes.readUInt32BE(body + LABEL_AT));
    this.owners.letGo(bytes.readUInt32BE(body + OWNER_AT));
  }
}

/** Where the terms of a row that has a value begin. */
function termsAt(bytes: Uint8Array, body: number): number {
  const flags = bytes[body + FLAGS_AT] as number;
  const version = flags & HAS_VERSION ? VERSION_BYTES : 0;
  return body + MORE_AT + version + (flags & HAS_PLACE_END ? NUMBER_BYTES : 0) + VALUE_BYTES;
}

function endOf(end: number): number {
  return Number.isFinite(end) ? Math.min(Math.max(0, Math.floor(end)), NEVER - 1) : NEVER;
}

function endAt(bytes: Buffer, at: number): number {
  const end = dueAt(bytes, at);
  return end === NEVER ? Number.POSITIVE_INFINITY : end;
}

/** First bytes of characters that have two bytes, and three. */
const TWO = 0xc0;
const THREE = 0xe0;

/**
 * The name of a row: the number of its collection, and its key as bytes that sort as its code units
 * do. Halves of pairs, which UTF-8 has no bytes for, have their own.
 */
export function rowName(collection: number, key: string): Buffer {
  const out = Buffer.allocUnsafe(COLLECTION_BYTES + key.length);
  let at = out.writeUInt16BE(collection);
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit >= 0x80) return longName(collection, key);
    out[at++] = unit;
  }
  return out;
}

function longName(collection: number, key: string): Buffer {
  const out = Buffer.allocUnsafe(COLLECTION_BYTES + 3 * key.length);
  let at = out.writeUInt16BE(collection);
  for (let i = 0; i < key.length; i++) {
    const unit = key.charCodeAt(i);
    if (unit < 0x80) out[at++] = unit;
    else if (unit < 0x800) {
      out[at++] = TWO | (unit >> 6);
      out[at++] = 0x80 | (unit & 0x3f);
    } else {
      out[at++] = THREE | (unit >> 12);
      out[at++] = 0x80 | ((unit >> 6) & 0x3f);
      out[at++] = 0x80 | (unit & 0x3f);
    }
  }
  return out.subarray(0, at);
}

/** The number of the collection in the name of a row. */
export function collectionOf(name: Uint8Array): number {
  return ((name[0] as number) << 8) | (name[1] as number);
}

/** The collection and the key of a row. */
export function namedBy({ bytes, name, body }: RowAt): { readonly collection: number; readonly key: string } {
  return { collection: bytes.readUInt16BE(name), key: keyAt(bytes, name + COLLECTION_BYTES, body) };
}

/** The key of such bytes. */
function keyAt(bytes: Buffer, from: number, end: number): string {
  for (let at = from; at < end; at++) if ((bytes[at] as number) >= 0x80) return longKeyAt(bytes, from, end);
  return bytes.toString('latin1', from, end);
}

function longKeyAt(bytes: Buffer, from: number, end: number): string {
  let key = '';
  for (let at = from; at < end; ) {
    const first = bytes[at] ?? 0;
    const [second, third] = [(bytes[at + 1] ?? 0) & 0x3f, (bytes[at + 2] ?? 0) & 0x3f];
    if (first < TWO) key += String.fromCharCode(first);
    else if (first < THREE) key += String.fromCharCode(((first & 0x1f) << 6) | second);
    else key += String.fromCharCode(((first & 0x0f) << 12) | (second << 6) | third);
    at += first < TWO ? 1 : first < THREE ? 2 : 3;
  }
  return key;
}
