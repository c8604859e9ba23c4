/**
 * DER (ITU-T X.690 section 10): the strict, definite-length subset that certificates and CRLs are
 * written in.
 */

import { concat, Reader, toHex } from '../bytes.ts';
import { DecodeError } from '../errors.ts';

/** Identifier octets that this room reads. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** The identifier octet of a constructed, context-specific element. */
export function contextTag(number: number): number {
  return 0xa0 | number;
}

/**
 * One element: its identifier octet, its contents, and its whole encoding as it stood in the input.
 */
export interface Element {
  readonly tag: number;
  readonly body: Uint8Array;
  readonly der: Uint8Array;
  /** Offset of the contents in the outermost input. */
  readonly at: number;
}

/** A cursor over consecutive elements. */
export class DerReader {
  readonly #reader: Reader;

  constructor(bytes: Uint8Array, base = 0) {
    this.#reader = new Reader(bytes, base);
  }

  /** The contents of an element, as elements. */
  static inside(element: Element): DerReader {
    return new DerReader(element.body, element.at);
  }

  get empty(): boolean {
    return this.#reader.left === 0;
  }

  /** Whether the next element has this identifier octet. */
  has(tag: number): boolean {
    const { bytes, left } = this.#reader;
    return left > 0 && bytes[bytes.length - left] === tag;
  }

  /**
   * The next element, whatever it is.
   * @throws DecodeError `truncated`; `canonical` if the length is indefinite or not the shortest
   * form; `range` for identifiers of more than one octet and lengths of more than three.
   */
  any(): Element {
    const reader = this.#reader;
    const start = reader.bytes.length - reader.left;
    const tag = reader.u8();
    if ((tag & 0x1f) === 0x1f) throw new DecodeError('range', 'identifier of more than one octet', reader.at - 1);
    let length = reader.u8();
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0) throw new DecodeError('canonical', 'indefinite length', reader.at - 1);
      if (octets > 3) throw new DecodeError('range', `length of ${octets} octets`, reader.at - 1);
      length = 0;
      for (const octet of reader.take(octets)) length = length * 256 + octet;
      if (length < 0x80 || length < 1 << (8 * (octets - 1))) {
        throw new DecodeError('canonical', 'length is not in its shortest form', reader.at - octets);
      }
    }
    const at = reader.at;
    const body = reader.take(length);
    return { tag, body, der: reader.bytes.subarray(start, reader.bytes.length - reader.left), at };
  }

  /**
   * The next element, which must have this identifier octet.
   * @throws DecodeError `syntax` and as `any`
   */
  next(tag: number, name: string): Element {
    const at = this.#reader.at;
    const element = this.any();
    if (element.tag !== tag) {
      throw new DecodeError('syntax', `${name}: identifier 0x${hex(element.tag)}, expected 0x${hex(tag)}`, at);
    }
    return element;
  }

  /** The next element if it has this identifier octet. */
  optional(tag: number): Element | undefined {
    return this.has(tag) ? this.any() : undefined;
  }

  /** The elements of the SEQUENCE (or other constructed element) that comes next. */
  sequence(name: string, tag: number = TAG.sequence): DerReader {
    return DerReader.inside(this.next(tag, name));
  }

  /** The bytes of the INTEGER that comes next, two's complement, shortest form. */
  integer(name: string, tag: number = TAG.integer): Uint8Array {
    const { body, at } = this.next(tag, name);
    const [first, second = 0] = body;
    if (first === undefined) throw new DecodeError('syntax', `${name}: empty integer`, at);
    if (body.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) {
      throw new DecodeError('canonical', `${name}: integer is not in its shortest form`, at);
    }
    return body;
  }

  /**
   * The serial number that comes next, in its shortest form, whatever form the input has. Makers of
   * TPMs pad serials to a fixed length with zeros, which DER forbids and RFC 5280 (4.1.2.2) asks
   * users to handle gracefully.
   *
   * **Trust**: one number has one text here, so that a revocation list that writes it otherwise
   * still names it.
   */
  serialNumber(name: string): Uint8Array {
    const { body, at } = this.next(TAG.integer, name);
    const [first, second = 0] = body;
    if (first === undefined) throw new DecodeError('syntax', `${name}: empty integer`, at);
    if (first === 0xff && body.length > 1 && second >= 0x80) {
      throw new DecodeError('canonical', `${name}: integer is not in its shortest form`, at);
    }
    const from = body.findIndex((octet, index) => octet !== 0 || index === body.length - 1);
    const shortest = body.subarray(from);
    return (shortest[0] ?? 0) >= 0x80 && from > 0 ? body.subarray(from - 1) : shortest;
  }

  /**
   * The non-negative INTEGER below 2³¹ that comes next.
   * @throws DecodeError `range` and as `integer`
   */
  smallInteger(name: string): number {
    const at = this.#reader.at;
    const body = this.integer(name);
    if (body.length > 4 || (body[0] ?? 0) >= 0x80) throw new DecodeError('range', `${name} is out of range`, at);
    return body.reduce((value, octet) => value * 256 + octet, 0);
  }

  boolean(name: string): boolean {
    const { body, at } = this.next(TAG.boolean, name);
    const [value] = body;
    if (body.length !== 1 || (value !== 0 && value !== 0xff)) {
      throw new DecodeError('canonical', `${name} is not a DER boolean`, at);
    }
    return value === 0xff;
  }

  /** The OBJECT IDENTIFIER that comes next, dotted. */
  oid(name: string): string {
    const { body, at } = this.next(TAG.oid, name);
    return dotted(body, at);
  }

  /** The BIT STRING that comes next, which must be whole octets. */
  octetsOfBits(name: string): Uint8Array {
    const { body, at } = this.next(TAG.bitString, name);
    if (body[0] !== 0) throw new DecodeError('syntax', `${name} is not a whole number of octets`, at);
    return body.subarray(1);
  }

  /**
   * The UTCTime or GeneralizedTime that comes next, in milliseconds since 1970, as RFC 5280
   * restricts them.
   */
  time(name: string): number {
    const { tag, body, at } = this.any();
    const digits = TIME_DIGITS[tag];
    if (digits === undefined || body.length !== digits + 1 || body[digits] !== LETTER_Z || !isDecimal(body, digits)) {
      throw new DecodeError('syntax', `${name} is not a time as RFC 5280 writes it`, at);
    }
    const value = millisecondsOf(body, digits);
    if (value === undefined) throw new DecodeError('range', `${name} is not a date`, at);
    return value;
  }

  /** Ends the reading. @throws DecodeError `trailing` if elements are left. */
  end(name: string): void {
    this.#reader.end(name);
  }
}

/** An element of at most 65535 bytes. */
export function encodeElement(tag: number, body: Uint8Array): Uint8Array {
  const { length } = body;
  const prefix = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(tag, ...prefix), body);
}

/** The only element of `bytes`. @throws DecodeError `trailing` if more follows. */
export function soleElement(bytes: Uint8Array, tag: number, name: string, base = 0): Element {
  const reader = new DerReader(bytes, base);
  const element = reader.next(tag, name);
  reader.end(name);
  return element;
}

/** Digits before the Z of UTCTime (of the years 1950 to 2049) and GeneralizedTime. */
const TIME_DIGITS: Readonly<Record<number, number>> = { [TAG.utcTime]: 12, [TAG.generalizedTime]: 14 };
const LETTER_Z = 0x5a;
const DIGIT_0 = 0x30;
/** After 400 years the calendar begins again. */
const MS_OF_400_YEARS = 146_097 * 86_400_000;

function isDecimal(body: Uint8Array, length: number): boolean {
  for (let at = 0; at < length; at++) {
    const digit = (body[at] ?? 0) - DIGIT_0;
    if (digit < 0 || digit > 9) return false;
  }
  return true;
}

/** Milliseconds since 1970 of decimal digits, or undefined if they are no date. */
function millisecondsOf(body: Uint8Array, digits: number): number | undefined {
  const pair = (at: number): number => 10 * ((body[at] ?? 0) - DIGIT_0) + (body[at + 1] ?? 0) - DIGIT_0;
  const from = digits - 10;
  const year = from === 4 ? 100 * pair(0) + pair(2) : pair(0) + (pair(0) < 50 ? 2000 : 1900);
  const [month, day, hour] = [pair(from) - 1, pair(from + 2), pair(from + 4)];
  const [minute, second] = [pair(from + 6), pair(from + 8)];
  // Date.UTC takes the year 50 for 1950, but no year above 99 for another.
  const date = new Date(Date.UTC(year + 400, month, day, hour, minute, second));
  // It carries 31 February over into March, and 24:00 into the next day: no such text may pass.
  const isDate =
    date.getUTCMonth() === month &&
    date.getUTCDate() === day &&
    date.getUTCHours() === hour &&
    date.getUTCMinutes() === minute &&
    date.getUTCSeconds() === second;
  return isDate ? date.getTime() - MS_OF_400_YEARS : undefined;
}

function dotted(body: Uint8Array, at: number): string {
  const arcs: number[] = [];
  let arc = 0;
  let start = true;
  for (const octet of body) {
    if (start && octet === 0x80) throw new DecodeError('canonical', 'object identifier arc starts with zero', at);
    arc = arc * 128 + (octet & 0x7f);
    if (arc > 0xffff_ffff) throw new DecodeError('range', 'object identifier arc is too large', at);
    start = octet < 0x80;
    if (start) {
      if (arcs.length === 0) {
        const root = Math.min(2, Math.floor(arc / 40));
        arcs.push(root, arc - 40 * root);
      } else arcs.push(arc);
      arc = 0;
    }
  }
  if (!start || arcs.length === 0) throw new DecodeError('truncated', 'object identifier ends inside an arc', at);
  return arcs.join('.');
}

function hex(octet: number): string {
  return toHex(Uint8Array.of(octet));
}
