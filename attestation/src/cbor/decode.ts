/**
 * A CBOR decoder for hostile input (RFC 8949, section 4.2.1 without the order of keys): definite
 * lengths, shortest forms, UTF-8 that is checked, no key twice, bounded depth, any tag.
 */

import { fromUtf8, Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import type { CborKey, CborMap, CborValue } from './value.ts';

const MAX_DEPTH = 32;
const MAX_INPUT = 1 << 22;

/** Forms that are accepted beyond the deterministic one. */
export interface CborOptions {
  /** Arrays and maps that end in a break instead of stating their length, as AWS writes them. */
  readonly indefinite?: boolean;
}

const BREAK = 0xff;
/** Stands for a length that is not stated. */
const UNTIL_BREAK = -1;

/**
 * Decodes exactly one value of at most 4 MiB.
 * @throws DecodeError `canonical` for indefinite lengths and longer forms, `range` for depth,
 * `version` for floats and other simple values, `syntax` for keys twice and text that is not UTF-8;
 * `truncated`, `trailing`.
 */
export function decodeCbor(bytes: Uint8Array, options: CborOptions = {}): CborValue {
  if (bytes.length > MAX_INPUT) throw new DecodeError('range', `CBOR of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  const value = readValue(reader, options, 0);
  reader.end('CBOR');
  return value;
}

function readValue(reader: Reader, options: CborOptions, depth: number): CborValue {
  const { at } = reader;
  if (depth > MAX_DEPTH) throw new DecodeError('range', `CBOR deeper than ${MAX_DEPTH}`, at);
  const initial = reader.u8();
  const major = initial >> 5;
  if (major === 7) return readSimple(initial & 0x1f, at);
  const open = options.indefinite === true && (initial === 0x9f || initial === 0xbf);
  const argument = open ? UNTIL_BREAK : readArgument(reader, initial & 0x1f);
  switch (major) {
    case 0:
      return argument;
    case 1:
      return typeof argument === 'number' ? -1 - argument : safe(-1n - argument);
    case 2:
      return reader.take(count(argument, reader));
    case 3:
      return readText(reader, count(argument, reader));
    case 4:
      return readArray(reader, count(argument, reader), options, depth + 1);
    case 5:
      return readMap(reader, count(argument, reader), options, depth + 1);
    default:
      if (typeof argument === 'bigint') throw new DecodeError('range', `tag ${argument}`, at);
      return { tag: argument, value: readValue(reader, options, depth + 1) };
  }
}

function readSimple(low: number, at: number): boolean | null {
  switch (low) {
    case 20:
      return false;
    case 21:
      return true;
    case 22:
      return null;
    default:
      throw new DecodeError('version', `CBOR simple value or float ${low}`, at);
  }
}

/** The argument of an initial byte, in its shortest form. */
function readArgument(reader: Reader, low: number): number | bigint {
  const { at } = reader;
  if (low < 24) return low;
  const shortest = (value: number, below: number): number => {
    if (value < below) throw new DecodeError('canonical', `${value} is not in its shortest form`, at);
    return value;
  };
  switch (low) {
    case 24:
      return shortest(reader.u8(), 24);
    case 25:
      return shortest(reader.u16be(), 0x100);
    case 26:
      return shortest(reader.u32be(), 0x1_0000);
    case 27: {
      const value = reader.u64be();
      if (value < 0x1_0000_0000n) throw new DecodeError('canonical', `${value} is not in its shortest form`, at);
      return safe(value);
    }
    default:
      throw new DecodeError('canonical', low === 31 ? 'indefinite length' : `reserved length ${low}`, at);
  }
}

/** A number of elements: each takes a byte at least, so more than are left cannot be meant. */
function count(argument: number | bigint, reader: Reader): number {
  if (typeof argument === 'bigint' || argument > reader.left) {
    throw new DecodeError('truncated', `${argument} elements wanted, ${reader.left} bytes left`, reader.at);
  }
  return argument;
}

function readText(reader: Reader, length: number): string {
  const { at } = reader;
  try {
    return fromUtf8(reader.take(length));
  } catch (cause) {
    if (cause instanceof DecodeError && cause.code !== 'syntax') throw cause;
    throw new DecodeError('syntax', 'text is not UTF-8', at, { cause });
  }
}

function readArray(reader: Reader, length: number, options: CborOptions, depth: number): CborValue[] {
  const array: CborValue[] = [];
  while (more(reader, array.length, length)) array.push(readValue(reader, options, depth));
  return array;
}

/** Whether another element follows, of `length` or up to the break. */
function more(reader: Reader, have: number, length: number): boolean {
  if (length !== UNTIL_BREAK) return have < length;
  if (reader.bytes[reader.bytes.length - reader.left] !== BREAK) return true;
  reader.skip(1);
  return false;
}

function readMap(reader: Reader, length: number, options: CborOptions, depth: number): CborMap {
  const map = new Map<CborKey, CborValue>();
  while (more(reader, map.size, length)) {
    const { at } = reader;
    const key = readValue(reader, options, depth);
    if (typeof key !== 'number' && typeof key !== 'string' && typeof key !== 'bigint') {
      throw new DecodeError('version', 'map key is neither an integer nor text', at);
    }
    if (map.has(key)) throw new DecodeError('syntax', `map key ${key} stands twice`, at);
    map.set(key, readValue(reader, options, depth));
  }
  return map;
}

function safe(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
