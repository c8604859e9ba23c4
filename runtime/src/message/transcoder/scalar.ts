/**
 * Scalars and enums: how each stands on the wire and in JSON.
 *
 * Of JSON it takes the forms that `JSON.stringify` and protobuf's own writers have. Further forms
 * that protobuf allows, such as a number in a string, are left to the reference.
 *
 * Specified in protobuf's "Encoding" and "ProtoJSON Format"
 * (https://protobuf.dev/programming-guides/json/).
 */

import { type DescEnum, ScalarType } from '@bufbuild/protobuf';
import { type BinaryWriter, base64Decode, base64Encode, WireType } from '@bufbuild/protobuf/wire';
import type { Json } from '../../worker/json-text.ts';
import { textOf } from '../searchable-text.ts';
import { type Kind, kindOf } from './kind.ts';
import { unusual } from './unusual.ts';
import type { WireReader } from './wire-reader.ts';

const MAX_INT32 = 0x7fff_ffff;
const MIN_INT32 = -0x8000_0000;
const MAX_UINT32 = 0xffff_ffff;
const TWO_32 = 0x1_0000_0000;
/** Upper halves from which a double cannot hold the whole number. */
const UNSAFE_HIGH = 0x20_0000;
/** A whole number as its own text. */
export const DIGITS: RegExp = /^(?:0|-?[1-9][0-9]{0,19})$/;
const NULL_VALUE = 'google.protobuf.NullValue';

/** The kind of a scalar type. */
export function scalarKind(type: ScalarType): Kind<unknown> {
  return KINDS[type] as Kind<unknown>;
}

/**
 * The kind of an enum; undefined for `NullValue`, whose one value is null.
 *
 * A number that a closed enum does not have is a field that the message does not have.
 */
export function enumKind(type: DescEnum): Kind<unknown> | undefined {
  if (type.typeName === NULL_VALUE) return undefined;
  const names = new Map(type.values.map(({ number }) => [number, type.value[number]?.jsonName ?? number]));
  const texts = new Map([...names].map(([number, name]) => [number, JSON.stringify(name)]));
  // Two values may meet under one name. Then the name of the .proto is meant.
  const numbers = new Map([
    ...type.values.map(({ jsonName, number }) => [jsonName, number] as const),
    ...type.values.map(({ name, number }) => [name, number] as const),
  ]);
  const zero = type.values[0]?.number;
  const known = (number: number): number => (type.open || names.has(number) ? number : unusual());
  return kindOf<number>({
    ...{ wire: WireType.Varint, packable: true },
    read: (reader) => known(reader.varint() | 0),
    parse: (json) => {
      if (typeof json === 'string') return numbers.get(json) ?? unusual();
      return known(whole(json, MIN_INT32, MAX_INT32));
    },
    isZero: (value) => value === zero,
    write: (writer, value) => writer.int32(value),
    json: (value) => names.get(value) ?? value,
    text: (value) => texts.get(value) ?? String(value),
  }) as Kind<unknown>;
}

const NUMBER = { isZero: (value: number) => value === 0, text: String };
/** Whole numbers of 64 bits, as decimal text. */
const LONG = { isZero: (value: string) => value === '0', text: (value: string) => `"${value}"` };
const VARINT = { wire: WireType.Varint, packable: true };
const BIT32 = { wire: WireType.Bit32, packable: true };
const BIT64 = { wire: WireType.Bit64, packable: true };
const int32 = (json: Json): number => whole(json, MIN_INT32, MAX_INT32);
const uint32 = (json: Json): number => whole(json, 0, MAX_UINT32);

const KINDS = {
  [ScalarType.STRING]: kindOf<string>({
    wire: WireType.LengthDelimited,
    read: (reader) => reader.string(),
    pass: (reader, zeroIsAbsent) => {
      const text = reader.quoted();
      return zeroIsAbsent && text === '""' ? '' : text;
    },
    parse: (json) => (typeof json === 'string' && json.isWellFormed() ? json : unusual()),
    write: (writer, value) => writer.string(value),
  }),
  [ScalarType.BYTES]: kindOf<Uint8Array>({
    wire: WireType.LengthDelimited,
    read: (reader) => reader.raw(),
    parse: (json) => (typeof json === 'string' ? base64Decode(json) : unusual()),
    isZero: (value) => value.length === 0,
    write: (writer, value) => writer.bytes(value),
    json: (value) => base64Encode(value),
    text: (value) => `"${base64Encode(value)}"`,
    hidden: (value) => [textOf(value)],
  }),
  [ScalarType.BOOL]: kindOf<boolean>({
    ...VARINT,
    read: (reader) => reader.varint() !== 0 || reader.high !== 0,
    parse: (json) => (typeof json === 'boolean' ? json : unusual()),
    write: (writer, value) => writer.bool(value),
    text: String,
  }),
  [ScalarType.INT32]: kindOf<number>({
    ...{ ...VARINT, ...NUMBER, parse: int32 },
    read: (reader) => reader.varint() | 0,
    write: (writer, value) => writer.int32(value),
  }),
  [ScalarType.UINT32]: kindOf<number>({
    ...{ ...VARINT, ...NUMBER, parse: uint32 },
    read: (reader) => reader.varint(),
    write: (writer, value) => writer.uint32(value),
  }),
  [ScalarType.SINT32]: kindOf<number>({
    ...{ ...VARINT, ...NUMBER, parse: int32 },
    read: (reader) => {
      const zigzag = reader.varint();
      return (zigzag >>> 1) ^ -(zigzag & 1);
    },
    write: (writer, value) => writer.sint32(value),
  }),
  [ScalarType.FIXED32]: kindOf<number>({
    ...{ ...BIT32, ...NUMBER, parse: uint32 },
    read: (reader) => reader.view.getUint32(reader.skip(4), true),
    write: (writer, value) => writer.fixed32(value),
  }),
  [ScalarType.SFIXED32]: kindOf<number>({
    ...{ ...BIT32, ...NUMBER, parse: int32 },
    read: (reader) => reader.view.getInt32(reader.skip(4), true),
    write: (writer, value) => writer.sfixed32(value),
  }),
  [ScalarType.INT64]: kindOf<string>({
    ...{ ...VARINT, ...LONG, parse: long },
    read: (reader) => signed(reader.varint(), reader.high),
    write: (writer, value) => writer.int64(value),
  }),
  [ScalarType.UINT64]: kindOf<string>({
    ...{ ...VARINT, ...LONG, parse: long },
    read: (reader) => unsigned(reader.varint(), reader.high),
    write: (writer, value) => writer.uint64(value),
  }),
  [ScalarType.SINT64]: kindOf<string>({
    ...{ ...VARINT, ...LONG, parse: long },
    read: (reader) => {
      const low = reader.varint();
      const { high } = reader;
      const sign = -(low & 1);
      return signed(((low >>> 1) | ((high & 1) << 31)) ^ sign, (high >>> 1) ^ sign);
    },
    write: (writer, value) => writer.sint64(value),
  }),
  [ScalarType.FIXED64]: kindOf<string>({
    ...{ ...BIT64, ...LONG, parse: long },
    read: (reader) => unsigned(...halves(reader)),
    write: (writer, value) => writer.fixed64(value),
  }),
  [ScalarType.SFIXED64]: kindOf<string>({
    ...{ ...BIT64, ...LONG, parse: long },
    read: (reader) => signed(...halves(reader)),
    write: (writer, value) => writer.sfixed64(value),
  }),
  [ScalarType.FLOAT]: kindOf<number>({
    ...BIT32,
    read: (reader) => reader.view.getFloat32(reader.skip(4), true),
    ...floating((writer, value) => writer.float(value)),
  }),
  [ScalarType.DOUBLE]: kindOf<number>({
    ...BIT64,
    read: (reader) => reader.view.getFloat64(reader.skip(8), true),
    ...floating((writer, value) => writer.double(value)),
  }),
} as const satisfies Readonly<Record<ScalarType, unknown>>;

type FloatingKind = Pick<Kind<number>, 'parse' | 'isZero' | 'write' | 'json' | 'text'>;

/** Fractions. A zero with a sign is none. */
function floating(write: (writer: BinaryWriter, value: number) => void): FloatingKind {
  return {
    parse: (json) => {
      if (typeof json === 'number' && Number.isFinite(json)) return json;
      return json === 'NaN' || json === 'Infinity' || json === '-Infinity' ? Number(json) : unusual();
    },
    isZero: (value) => Object.is(value, 0),
    write,
    json: (value) => (Number.isFinite(value) ? value : String(value)),
    text: (value) => (Number.isFinite(value) ? String(value) : `"${value}"`),
  };
}

function whole(json: Json, min: number, max: number): number {
  return typeof json === 'number' && Number.isInteger(json) && json >= min && json <= max ? json : unusual();
}

/** A whole number of 64 bits; a number beyond 2^53 may have been rounded. */
function long(json: Json): string {
  if (typeof json === 'string' && DIGITS.test(json)) return json;
  return Number.isSafeInteger(json) ? String(json) : unusual();
}

function halves(reader: WireReader): [low: number, high: number] {
  const at = reader.skip(8);
  return [reader.view.getUint32(at, true), reader.view.getInt32(at + 4, true)];
}

function signed(low: number, high: number): string {
  const top = high | 0;
  if (top >= -UNSAFE_HIGH && top < UNSAFE_HIGH) return String(top * TWO_32 + (low >>> 0));
  return ((BigInt(top) << 32n) | BigInt(low >>> 0)).toString();
}

function unsigned(low: number, high: number): string {
  const top = high >>> 0;
  if (top < UNSAFE_HIGH) return String(top * TWO_32 + (low >>> 0));
  return ((BigInt(top) << 32n) | BigInt(low >>> 0)).toString();
}
