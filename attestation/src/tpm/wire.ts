/**
 * The TPM 2.0 wire format as codec values (TPM 2.0 Library, Part 2, rev 1.59): big-endian, packed,
 * sized by prefix.
 */

import { concat, equalBytes, Reader, u32be, u64be } from '../bytes.ts';
import { DecodeError } from '../errors.ts';

/**
 * How one type stands on the wire. `decode` reads exactly one value or throws `DecodeError`;
 * `encode` is its inverse and throws `RangeError` for a value that the type cannot hold, which is a
 * defect of the caller.
 */
export interface Codec<T> {
  decode(reader: Reader): T;
  encode(value: T): Uint8Array;
}

/** The value that all of `bytes` hold. @throws DecodeError, `trailing` if bytes are left over */
export function decodeWhole<T>(codec: Codec<T>, bytes: Uint8Array, name: string): T {
  const reader = new Reader(bytes);
  const value = codec.decode(reader);
  reader.end(name);
  return value;
}

export const u8: Codec<number> = {
  decode: (reader) => reader.u8(),
  encode: (value) => Uint8Array.of(unsigned(value, 0xff)),
};
export const u16: Codec<number> = {
  decode: (reader) => reader.u16be(),
  encode: (value) => Uint8Array.of(unsigned(value, 0xffff) >>> 8, value & 0xff),
};
export const u32: Codec<number> = {
  decode: (reader) => reader.u32be(),
  encode: (value) => u32be(unsigned(value, 0xffff_ffff)),
};
export const u64: Codec<bigint> = {
  decode: (reader) => reader.u64be(),
  encode: (value) => {
    if (BigInt.asUintN(64, value) !== value) throw new RangeError(`${value} is not an unsigned 64-bit number`);
    return u64be(value);
  },
};

/** TPMI_YES_NO: one byte, 0 or 1. */
export const yesNo: Codec<boolean> = {
  decode: (reader) => {
    const { at } = reader;
    const value = reader.u8();
    if (value > 1) throw new DecodeError('range', `yes/no byte is ${value}`, at);
    return value === 1;
  },
  encode: (value) => Uint8Array.of(value ? 1 : 0),
};

/** Bytes of a fixed length, without a prefix. */
export function fixed(length: number): Codec<Uint8Array> {
  return {
    decode: (reader) => reader.take(length),
    encode: (value) => {
      if (value.length !== length) throw new RangeError(`${value.length} bytes where ${length} are fixed`);
      return value;
    },
  };
}

/** All the bytes that are left. */
export const rest: Codec<Uint8Array> = {
  decode: (reader) => reader.take(reader.left),
  encode: (value) => value,
};

/** TPM2B of plain bytes: u16 length, then at most `max` bytes. */
export function tpm2b(max: number): Codec<Uint8Array> {
  return {
    decode: (reader) => reader.take(boundedLength(reader, max)),
    encode: (value) => {
      if (value.length > max) throw new RangeError(`${value.length} bytes where at most ${max} fit`);
      return concat(u16.encode(value.length), value);
    },
  };
}

/** TPM2B of a structure: u16 length, then exactly that structure. */
export function sized<T>(inner: Codec<T>, max = 0x0fff): Codec<T> {
  return {
    decode: (reader) => {
      const body = reader.sub(boundedLength(reader, max));
      const value = inner.decode(body);
      body.end('a sized structure');
      return value;
    },
    encode: (value) => {
      const bytes = inner.encode(value);
      return concat(u16.encode(bytes.length), bytes);
    },
  };
}

/** TPML: u32 count, then that many values, at most `max`. */
export function list<T>(item: Codec<T>, max: number): Codec<readonly T[]> {
  return {
    decode: (reader) => {
      const { at } = reader;
      const count = reader.u32be();
      if (count > max) throw new DecodeError('range', `list of ${count}, at most ${max}`, at);
      return Array.from({ length: count }, () => item.decode(reader));
    },
    encode: (values) => {
      if (values.length > max) throw new RangeError(`list of ${values.length}, at most ${max}`);
      return concat(u32.encode(values.length), ...values.map((value) => item.encode(value)));
    },
  };
}

/** A constant by its name. A number without a name is refused. */
export function named<N extends string>(number: Codec<number>, table: Readonly<Record<N, number>>): Codec<N> {
  const names = new Map(Object.entries(table).map(([name, value]) => [value as number, name as N]));
  return {
    decode: (reader) => {
      const { at } = reader;
      const value = number.decode(reader);
      const name = names.get(value);
      if (name === undefined) {
        throw new DecodeError('range', `0x${value.toString(16)} is not one of ${Object.keys(table).join(', ')}`, at);
      }
      return name;
    },
    encode: (name) => number.encode(table[name]),
  };
}

/** A number that has one of a few values. */
export function among<N extends number>(number: Codec<number>, ...values: readonly N[]): Codec<N> {
  return {
    decode: (reader) => {
      const { at } = reader;
      const found = number.decode(reader);
      const value = values.find((one) => one === found);
      if (value === undefined) throw new DecodeError('range', `${found} is not one of ${values.join(', ')}`, at);
      return value;
    },
    encode: (value) => number.encode(value),
  };
}

/**
 * A u32 of flags as the names of the set ones, in the table's order. A set bit without a name is
 * refused.
 */
export function flags<N extends string>(table: Readonly<Record<N, number>>): Codec<readonly N[]> {
  const bits = Object.entries(table).map(([name, bit]) => [name as N, (1 << (bit as number)) >>> 0] as const);
  const known = bits.reduce((all, [, mask]) => all + mask, 0);
  return {
    decode: (reader) => {
      const { at } = reader;
      const value = reader.u32be();
      if ((value & ~known) !== 0) throw new DecodeError('reserved', `flags 0x${value.toString(16)}`, at);
      return bits.filter(([, mask]) => (value & mask) !== 0).map(([name]) => name);
    },
    encode: (names) => u32.encode(bits.reduce((all, [name, mask]) => (names.includes(name) ? all + mask : all), 0)),
  };
}

/** Fields one after another, in the order of the table. */
export function struct<T extends object>(fields: { readonly [K in keyof T]: Codec<T[K]> }): Codec<T> {
  const table = Object.entries(fields) as [keyof T, Codec<unknown>][];
  return {
    decode: (reader) => Object.fromEntries(table.map(([name, codec]) => [name, codec.decode(reader)])) as T,
    encode: (value) => concat(...table.map(([name, codec]) => codec.encode(value[name]))),
  };
}

/** The member of union `T` whose `key` may be `V`, without the key. */
type BodyOf<T, K extends keyof T, V> = T extends unknown ? (V extends T[K] ? Omit<T, K> : never) : never;

/**
 * A number that says which of several structures follows; the value carries the structure's name
 * under `key`.
 */
export function tagged<T extends object, K extends keyof T & string>(
  key: K,
  variants: {
    readonly [V in T[K] & string]: readonly [tag: number, body: Codec<BodyOf<T, K, V>>];
  },
  number: Codec<number> = u16,
): Codec<T> {
  const table = Object.entries(variants) as [string, readonly [number, Codec<object>]][];
  const bodies = new Map(table.map(([name, [, body]]) => [name, body]));
  const tag = named(number, Object.fromEntries(table.map(([name, [value]]) => [name, value])));
  return {
    decode: (reader) => {
      const name = tag.decode(reader);
      return { [key]: name, ...bodies.get(name)?.decode(reader) } as T;
    },
    encode: (value) => {
      const name = String(value[key]);
      return concat(tag.encode(name), bodies.get(name)?.encode(value) ?? new Uint8Array());
    },
  };
}

/** A value and, after it, constant bytes that the decoded value does not have. */
export function suffixed<T>(inner: Codec<T>, ...suffix: readonly number[]): Codec<T> {
  const bytes = Uint8Array.from(suffix);
  return {
    decode: (reader) => {
      const value = inner.decode(reader);
      const { at } = reader;
      if (!equalBytes(reader.take(bytes.length), bytes)) throw new DecodeError('range', 'a constant differs', at);
      return value;
    },
    encode: (value) => concat(inner.encode(value), bytes),
  };
}

/** A u32 that must stand before the value. */
export function prefixed<T>(magic: number, inner: Codec<T>): Codec<T> {
  return {
    decode: (reader) => {
      const { at } = reader;
      const found = reader.u32be();
      if (found !== magic) throw new DecodeError('magic', `magic is 0x${found.toString(16)}`, at);
      return inner.decode(reader);
    },
    encode: (value) => concat(u32.encode(magic), inner.encode(value)),
  };
}

function boundedLength(reader: Reader, max: number): number {
  const { at } = reader;
  const length = reader.u16be();
  if (length > max) throw new DecodeError('range', `length ${length}, at most ${max}`, at);
  return length;
}

function unsigned(value: number, max: number): number {
  if (!Number.isInteger(value) || value < 0 || value > max) throw new RangeError(`${value} is not in 0..${max}`);
  return value;
}
