/**
 * Rows of the index: one place each, as few bytes as can be. Values are not among them, but the
 * keys under which the disk has them.
 */

import { isAscii } from 'node:buffer';
import { dueOf, type Place } from '../place.ts';
import { KEY_BYTES } from './seals.ts';

/** A value: where the disk has it, and under which key. */
export interface Value {
  /** Bytes of its JSON. */
  readonly length: number;
  readonly key: Uint8Array;
  /** Position of its sealed bytes in the journal; -1 until they are durable. */
  position: number;
  /** Its JSON, until it is durable. */
  bytes: Buffer | undefined;
}

/** Numbers that stand for texts that many rows share. */
export class Names {
  readonly #texts: string[] = [];
  readonly #numbers = new Map<string, number>();
  #bytes = 0;

  constructor(texts: Iterable<string> = []) {
    for (const text of texts) this.numberOf(text);
  }

  get texts(): readonly string[] {
    return this.#texts;
  }

  numberOf(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      this.#bytes += this.costOf(text);
      number = this.#texts.push(text) - 1;
      this.#numbers.set(text, number);
    }
    return number;
  }

  /** Bytes of all texts, as a slot has them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes by which a text would make that more. */
  costOf(text: string): number {
    return this.#numbers.has(text) ? 0 : Buffer.byteLength(JSON.stringify(text)) + 1;
  }

  textOf(number: number): string {
    const text = this.#texts[number];
    if (text === undefined) throw new RangeError(`name ${number} of ${this.#texts.length}`);
    return text;
  }
}

/** A row as the table has it. */
export interface Row {
  /** When it next changes by itself; null for never. */
  readonly due: number | null;
  /** Number of its label, times {@link TAGS}, and 1 if it has a value. */
  readonly tag: number;
  readonly rest: Uint8Array;
}

/** Tags of rows that share a label. */
const TAGS = 2;
const HAS_VALUE = 1;
const HAS_PLACE_END = 2;
const HAS_VERSION = 4;
const NEVER = 2 ** 48 - 1;
const NUMBER_BYTES = 6;
const OWNER_BYTES = 4;
const VERSION_BYTES = 8;
const VALUE_LENGTH_BYTES = 3;
/** Offset behind the owner. */
const ENDS_AT = 1 + NUMBER_BYTES + OWNER_BYTES;
export const REST_BYTES: number = 1 + 3 * NUMBER_BYTES + OWNER_BYTES + VERSION_BYTES + VALUE_LENGTH_BYTES + KEY_BYTES;

/** A place without what only its reader needs. */
export interface NamedPlace {
  readonly key: string;
  readonly hasValue: boolean;
  readonly label: readonly string[];
  /** When it next changes by itself: its value ends, or, if it has none, the place. */
  readonly due: number;
}

/** Packs and unpacks rows with the names that they share. */
export class RowCodec {
  labels: Names = new Names();
  owners: Names = new Names();
  readonly #labels = new Map<number, readonly string[]>();

  pack(place: Place<Value>): Row {
    const { value, version, since, placeEnd, owner } = place;
    const due = dueOf(place);
    const out = Buffer.allocUnsafe(REST_BYTES);
    const flags =
      (value === undefined ? 0 : HAS_VALUE) |
      (placeEnd === due ? 0 : HAS_PLACE_END) |
      (version === undefined ? 0 : HAS_VERSION);
    let at = out.writeUInt8(flags);
    at = out.writeUIntBE(Math.floor(since), at, NUMBER_BYTES);
    at = out.writeUInt32BE(this.owners.numberOf(owner), at);
    if (version !== undefined) at += out.write(version, at, 'hex');
    if (placeEnd !== due) at = out.writeUIntBE(endOf(placeEnd), at, NUMBER_BYTES);
    if (value !== undefined) {
      at = out.writeUIntBE(value.position, at, NUMBER_BYTES);
      at = out.writeUIntBE(value.length, at, VALUE_LENGTH_BYTES);
      out.set(value.key, at);
      at += KEY_BYTES;
    }
    const tag = TAGS * this.labels.numberOf(JSON.stringify(place.label)) + (value === undefined ? 0 : HAS_VALUE);
    return { due: Number.isFinite(due) ? due : null, tag, rest: out.subarray(0, at) };
  }

  unpack({ due, tag, rest }: Row): Place<Value> {
    const bytes = bufferOf(rest);
    const flags = bytes.readUInt8();
    const since = bytes.readUIntBE(1, NUMBER_BYTES);
    const owner = this.owners.textOf(bytes.readUInt32BE(1 + NUMBER_BYTES));
    let at = ENDS_AT;
    const version = flags & HAS_VERSION ? bytes.toString('hex', at, at + VERSION_BYTES) : undefined;
    if (flags & HAS_VERSION) at += VERSION_BYTES;
    const end = due ?? Number.POSITIVE_INFINITY;
    const placeEnd = flags & HAS_PLACE_END ? endAt(bytes, at) : end;
    if (flags & HAS_PLACE_END) at += NUMBER_BYTES;
    let value: Value | undefined;
    if (flags & HAS_VALUE) {
      const position = bytes.readUIntBE(at, NUMBER_BYTES);
      const length = bytes.readUIntBE(at + NUMBER_BYTES, VALUE_LENGTH_BYTES);
      const from = at + NUMBER_BYTES + VALUE_LENGTH_BYTES;
      value = { position, length, key: bytes.subarray(from, from + KEY_BYTES), bytes: undefined };
    }
    return { value, version, since, label: this.labelOf(Math.floor(tag / TAGS)), valueEnd: end, placeEnd, owner };
  }

  /** The outline of a row. **Cost**: a list is made of these alone. */
  outline(key: string, due: number | null, tag: number): NamedPlace {
    const label = this.labelOf(Math.floor(tag / TAGS));
    return { key, hasValue: tag % 2 === HAS_VALUE, label, due: due ?? Number.POSITIVE_INFINITY };
  }

  /** The label that a number stands for. */
  labelOf(number: number): readonly string[] {
    const known = this.#labels.get(number);
    if (known !== undefined) return known;
    const label = JSON.parse(this.labels.textOf(number)) as string[];
    this.#labels.set(number, label);
    return label;
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function endOf(end: number): number {
  return Number.isFinite(end) ? Math.min(Math.floor(end), NEVER - 1) : NEVER;
}

function endAt(bytes: Buffer, at: number): number {
  const end = bytes.readUIntBE(at, NUMBER_BYTES);
  return end === NEVER ? Number.POSITIVE_INFINITY : end;
}

/** First bytes of characters that have two bytes, and three. */
const TWO = 0xc0;
const THREE = 0xe0;

/**
 * A key as bytes that sort as its code units do. Halves of pairs, which UTF-8 has no bytes for,
 * have their own.
 */
export function keyBytes(key: string): Buffer {
  const plain = Buffer.from(key);
  if (plain.length === key.length) return plain; // ASCII
  const out = Buffer.allocUnsafe(3 * key.length);
  let at = 0;
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

/** The key of such bytes. */
export function keyOf(bytes: Uint8Array): string {
  if (isAscii(bytes)) return bufferOf(bytes).toString('latin1');
  let key = '';
  for (let at = 0; at < bytes.length; ) {
    const first = bytes[at] ?? 0;
    const [second, third] = [(bytes[at + 1] ?? 0) & 0x3f, (bytes[at + 2] ?? 0) & 0x3f];
    if (first < TWO) key += String.fromCharCode(first);
    else if (first < THREE) key += String.fromCharCode(((first & 0x1f) << 6) | second);
    else key += String.fromCharCode(((first & 0x0f) << 12) | (second << 6) | third);
    at += first < TWO ? 1 : first < THREE ? 2 : 3;
  }
  return key;
}
