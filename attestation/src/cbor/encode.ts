/**
 * Deterministic CBOR (RFC 8949, section 4.2.1): shortest forms, keys in the order of their
 * encodings.
 */

import { concat, utf8 } from '../bytes.ts';
import { type CborKey, type CborMap, type CborValue, isTagged } from './value.ts';

/**
 * The encoding of a value.
 * @throws RangeError for a number that is not a safe integer, or an integer beyond 64 bits.
 */
export function encodeCbor(value: CborValue): Uint8Array {
  if (typeof value === 'number' || typeof value === 'bigint') return encodeInteger(value);
  if (typeof value === 'string') {
    const bytes = utf8(value);
    return concat(head(3, bytes.length), bytes);
  }
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (value === null) return Uint8Array.of(0xf6);
  if (value instanceof Uint8Array) return concat(head(2, value.length), value);
  if (isTagged(value)) return concat(head(6, value.tag), encodeCbor(value.value));
  if (isMap(value)) return encodeMap(value);
  return concat(head(4, value.length), ...value.map(encodeCbor));
}

function isMap(value: readonly CborValue[] | CborMap): value is CborMap {
  return value instanceof Map;
}

function encodeInteger(value: number | bigint): Uint8Array {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
  return value < 0 ? head(1, -1n - BigInt(value)) : head(0, value);
}

function encodeMap(map: CborMap): Uint8Array {
  const entries = [...map].map(([key, value]: [CborKey, CborValue]) => [encodeCbor(key), encodeCbor(value)] as const);
  entries.sort(([a], [b]) => compareBytes(a, b));
  return concat(head(5, map.size), ...entries.flat());
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function head(major: number, argument: number | bigint): Uint8Array {
  const value = BigInt(argument);
  if (value >= 1n << 64n) throw new RangeError(`${value} does not fit in 64 bits`);
  if (value < 24n) return Uint8Array.of((major << 5) | Number(value));
  const size = value < 0x100n ? 0 : value < 0x1_0000n ? 1 : value < 0x1_0000_0000n ? 2 : 3;
  const bytes = new Uint8Array(1 + 2 ** size);
  bytes[0] = (major << 5) | (24 + size);
  const full = new DataView(new ArrayBuffer(8));
  full.setBigUint64(0, value);
  bytes.set(new Uint8Array(full.buffer).subarray(8 - 2 ** size), 1);
  return bytes;
}
