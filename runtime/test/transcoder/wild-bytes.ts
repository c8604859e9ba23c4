/**
 * Bytes of messages at random: mostly as encoders write them, now and then with anything that a
 * stranger may send instead.
 */

import { type DescField, type DescMessage, type Registry, ScalarType } from '@bufbuild/protobuf';
import type { Chance } from './chance.ts';
import { FRACTIONS, NO_TEXTS, TEXTS, WHOLE } from './wild-values.ts';

const MAX_DEPTH = 5;
const utf8 = new TextEncoder();

/** How wild messages are: the larger, the rarer what is not usual. */
export interface Wildness {
  /** One field in so many is not as it should be. */
  readonly odd: number;
  readonly registry: Registry;
}

/** A message's bytes. */
export function wildBytes(type: DescMessage, chance: Chance, wildness: Wildness): Uint8Array {
  const bytes: number[] = [];
  if (chance.once(400)) tower(type, chance, wildness, bytes);
  else body(type, chance, wildness, 0, bytes);
  return Uint8Array.from(bytes);
}

/** Bytes with a few changes. */
export function mutated(bytes: Uint8Array, chance: Chance): Uint8Array {
  const changed = [...bytes];
  for (let changes = 1 + chance.below(3); changes > 0; changes--) {
    const at = chance.below(changed.length + 1);
    switch (chance.below(5)) {
      case 0:
        changed.splice(at, 1 + chance.below(4));
        break;
      case 1:
        changed.splice(at, 0, chance.below(256));
        break;
      case 2: {
        const from = chance.below(changed.length + 1);
        changed.splice(at, 0, ...changed.slice(from, from + chance.below(12)));
        break;
      }
      default:
        if (changed.length > 0) changed[at % changed.length] = chance.below(256);
    }
  }
  return Uint8Array.from(changed);
}

/** A message in a message in a message, about as deep as may be. */
function tower(type: DescMessage, chance: Chance, wildness: Wildness, to: number[]): void {
  const field = type.fields.find((each) => each.message === type && each.fieldKind !== 'map' && !isGroup(each));
  if (field === undefined) {
    body(type, chance, wildness, 0, to);
    return;
  }
  let inner: number[] = [];
  body(type, chance, wildness, MAX_DEPTH, inner);
  for (let depth = chance.of([30, 62, 63, 64, 65, 98, 99, 100, 101]); depth > 0; depth--) {
    const outer: number[] = [];
    tag(field.number, 2, outer);
    delimited(inner, outer);
    inner = outer;
  }
  for (const byte of inner) to.push(byte);
}

function body(type: DescMessage, chance: Chance, wildness: Wildness, depth: number, to: number[]): void {
  if (type.fields.length === 0 || chance.once(8)) return;
  const share = 1 + chance.below(type.fields.length);
  const choices = new Set<unknown>();
  let fields = type.fields
    .filter(() => chance.below(type.fields.length) < share)
    .filter(({ oneof }) => {
      if (oneof === undefined || chance.once(wildness.odd)) return true;
      const free = !choices.has(oneof);
      choices.add(oneof);
      return free;
    })
    .sort((a, b) => a.number - b.number);
  if (chance.once(6)) fields = chance.once(2) ? shuffled(fields, chance) : choicesLast(fields);
  for (const field of fields) {
    const odd = chance.once(wildness.odd);
    oneField(field, chance, wildness, depth, odd, to);
    if (chance.once(wildness.odd)) oneField(field, chance, wildness, depth, false, to);
  }
  if (chance.once(wildness.odd)) unknown(chance, to);
}

function shuffled<T>(list: readonly T[], chance: Chance): T[] {
  return list
    .map((each) => [chance.bits(), each] as const)
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each);
}

/** As protobuf's encoder for Go writes them. */
function choicesLast(fields: readonly DescField[]): DescField[] {
  return [...fields.filter(({ oneof }) => !oneof), ...fields.filter(({ oneof }) => oneof)];
}

function oneField(
  field: DescField,
  chance: Chance,
  wildness: Wildness,
  depth: number,
  odd: boolean,
  to: number[],
): void {
  if (odd && chance.once(3)) {
    tag(field.number, chance.below(8), to);
    varint(chance.of(WHOLE) % 100n, to);
    return;
  }
  const value = (into: number[]): void => one(field, chance, wildness, depth + 1, odd, into);
  switch (field.fieldKind) {
    case 'map': {
      for (let entries = chance.below(4); entries > 0; entries--) {
        const entry: number[] = [];
        const parts = odd ? chance.of([[1], [2], [2, 1], [1, 1, 2], [1, 2, 2], []]) : [1, 2];
        for (const part of parts) {
          const at: number[] = [];
          if (part === 1) scalar(field.mapKey, chance, odd, at);
          else value(at);
          tag(part, part === 1 ? wireOf(field.mapKey) : wireOfField(field), entry);
          for (const byte of at) entry.push(byte);
        }
        tag(field.number, 2, to);
        delimited(entry, to);
      }
      return;
    }
    case 'list': {
      const count = chance.below(4);
      const packable = field.listKind !== 'message' && wireOfField(field) !== 2;
      if (packable && (field.packed ? !chance.once(8) : chance.once(8))) {
        const packed: number[] = [];
        for (let i = 0; i < count; i++) value(packed);
        tag(field.number, 2, to);
        delimited(packed, to);
        return;
      }
      for (let i = 0; i < count; i++) tagged(field, value, to);
      return;
    }
    default:
      tagged(field, value, to);
  }
}

function tagged(field: DescField, value: (into: number[]) => void, to: number[]): void {
  const wire = wireOfField(field);
  tag(field.number, wire, to);
  value(to);
  if (wire === 3) tag(field.number, 4, to);
}

/** One value of a field, without its tag. */
function one(field: DescField, chance: Chance, wildness: Wildness, depth: number, odd: boolean, to: number[]): void {
  const { message } = field;
  if (message === undefined) {
    if (field.scalar !== undefined) scalar(field.scalar, chance, odd, to);
    else varint(BigInt.asUintN(64, BigInt(chance.once(8) ? chance.bits() | 0 : enumOf(field, chance))), to);
    return;
  }
  const inner: number[] = [];
  if (depth > MAX_DEPTH) {
    // Nothing more within.
  } else if (message.typeName === 'google.protobuf.Any') any(chance, wildness, depth, inner);
  else if (message.typeName === 'google.protobuf.Timestamp') moment(chance, inner);
  else body(message, chance, wildness, depth, inner);
  if (wireOfField(field) === 3) for (const byte of inner) to.push(byte);
  else delimited(inner, to);
}

function enumOf(field: DescField, chance: Chance): number {
  return chance.of(field.enum?.values.map(({ number }) => number) ?? [0]);
}

function any(chance: Chance, wildness: Wildness, depth: number, to: number[]): void {
  const name = chance.of(['wild.Tree', 'wild.Scalars', 'wild.Known', 'nobody.Knows', 'google.protobuf.Duration']);
  tag(1, 2, to);
  delimited([...utf8.encode(`type.googleapis.com/${name}`)], to);
  const type = wildness.registry.getMessage(name);
  const held: number[] = [];
  if (type !== undefined) body(type, chance, wildness, depth + 1, held);
  tag(2, 2, to);
  delimited(held, to);
}

function moment(chance: Chance, to: number[]): void {
  tag(1, 0, to);
  varint(chance.once(10) ? chance.of(WHOLE) : BigInt(chance.bits()), to);
  if (chance.once(2)) return;
  tag(2, 0, to);
  varint(chance.once(10) ? chance.of(WHOLE) : BigInt(chance.below(1_000_000_000)), to);
}

function unknown(chance: Chance, to: number[]): void {
  const number = chance.of([17, 99, 100, 150, 20_000, 536_870_911]);
  const wire = chance.of([0, 1, 2, 3, 5]);
  tag(number, wire, to);
  if (wire === 0) varint(chance.of(WHOLE), to);
  else if (wire === 2) delimited([...utf8.encode(chance.of(TEXTS))], to);
  else if (wire === 3) tag(number, 4, to);
  else for (let i = wire === 1 ? 8 : 4; i > 0; i--) to.push(chance.below(256));
}

function scalar(type: ScalarType, chance: Chance, odd: boolean, to: number[]): void {
  switch (type) {
    case ScalarType.STRING:
      delimited(odd ? chance.of(NO_TEXTS) : [...utf8.encode(chance.of(TEXTS))], to);
      return;
    case ScalarType.BYTES:
      delimited(chance.once(2) ? [...utf8.encode(chance.of(TEXTS))] : chance.of(NO_TEXTS), to);
      return;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT: {
      const view = new DataView(new ArrayBuffer(8));
      if (type === ScalarType.FLOAT) view.setFloat32(0, chance.of(FRACTIONS), true);
      else view.setFloat64(0, chance.of(FRACTIONS), true);
      for (let i = 0; i < (type === ScalarType.FLOAT ? 4 : 8); i++) to.push(view.getUint8(i));
      return;
    }
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64: {
      const bytes = wireOf(type) === 1 ? 8n : 4n;
      const value = chance.once(2) ? chance.of(WHOLE) : BigInt(chance.bits());
      for (let i = 0n; i < bytes; i++) to.push(Number((value >> (8n * i)) & 0xffn));
      return;
    }
    case ScalarType.BOOL:
      varint(chance.once(20) ? chance.of(WHOLE) : BigInt(chance.below(2)), to);
      return;
    default: {
      const value = chance.once(2) ? chance.of(WHOLE) : BigInt(chance.below(1000));
      varint(value, to);
      if (!odd) return;
      // Longer than it need be, up to one byte more than may be.
      to.push((to.pop() ?? 0) | 0x80);
      for (let more = chance.below(10); more > 0; more--) to.push(0x80);
      to.push(0);
    }
  }
}

function wireOfField(field: DescField): number {
  if (field.message !== undefined) return isGroup(field) ? 3 : 2;
  return field.scalar === undefined ? 0 : wireOf(field.scalar);
}

function isGroup(field: DescField): boolean {
  return 'delimitedEncoding' in field && field.delimitedEncoding === true;
}

function wireOf(type: ScalarType): number {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 2;
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
    case ScalarType.FLOAT:
      return 5;
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
    case ScalarType.DOUBLE:
      return 1;
    default:
      return 0;
  }
}

function tag(number: number, wire: number, to: number[]): void {
  varint((BigInt(number) << 3n) | BigInt(wire), to);
}

function varint(value: bigint, to: number[]): void {
  let rest = value;
  for (; rest >= 0x80n; rest >>= 7n) to.push(Number(rest & 0x7fn) | 0x80);
  to.push(Number(rest));
}

function delimited(bytes: readonly number[], to: number[]): void {
  varint(BigInt(bytes.length), to);
  for (const byte of bytes) to.push(byte);
}
