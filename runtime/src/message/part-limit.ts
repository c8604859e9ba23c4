/**
 * Limit to the parts of an untrusted message.
 *
 * **Bound**: without this, a few bytes of a message could become millions of objects.
 */

import { type DescField, type DescMessage, type Registry, ScalarType } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/**
 * Fields on the wire, and elements of lists, that a message may have. For each, the decoder makes
 * at most three objects.
 */
export const MAX_PARTS = 100_000;
/** Nesting of messages, as in the decoder. */
const MAX_DEPTH = 100;

/** The facts about a message type that are needed to walk over its bytes. */
interface Shape {
  readonly fields: ReadonlyMap<number, Field>;
  readonly isAny: boolean;
}

interface Field {
  readonly wire: WireType;
  /** Shape of the message in this field, if it holds one. */
  readonly inner: (() => Shape) | undefined;
  /** Whether it is a list whose elements can be packed. */
  readonly packable: boolean;
}

const shapes: WeakMap<DescMessage, Shape> = new WeakMap();

/** Thrown for a message of too many parts, as distinct from one that does not parse. */
export class HeavyError extends RangeError {}

/**
 * Walks over the bytes of a message without making anything of them, and counts its parts.
 *
 * It is stricter than the decoder, which accepts a field of any wire type as one of its own and
 * reads on behind the end of a message. All bytes that both accept, both read alike.
 *
 * @param registry types that an `Any` may hold
 * @throws HeavyError beyond {@link MAX_PARTS}; Error if the bytes are no message
 */
export function weigh(descriptor: DescMessage, bytes: Uint8Array, registry: Pick<Registry, 'getMessage'>): number {
  let parts = 0;
  const count = (more: number): void => {
    parts += more;
    if (parts > MAX_PARTS) throw new HeavyError(`more than ${MAX_PARTS} parts`);
  };

  /** Walks up to `end`, or for a group up to its own end. */
  const walk = ({ fields, isAny }: Shape, reader: BinaryReader, end: number, depth: number, group?: number): void => {
    if (depth > MAX_DEPTH) throw new RangeError(`deeper than ${MAX_DEPTH}`);
    let [type, value]: [string, Uint8Array] = ['', new Uint8Array()];
    while (reader.pos < end) {
      const [number, wire] = reader.tag();
      if (wire === WireType.EndGroup && number === group) return;
      count(1);
      const field = fields.get(number);
      if (field === undefined) reader.skip(wire, number, MAX_DEPTH - depth);
      else if (field.packable && wire === WireType.LengthDelimited) count(elements(field.wire, reader.bytes()));
      else if (wire !== field.wire) throw new TypeError(`field ${number} has wire type ${wire}`);
      else if (wire === WireType.StartGroup && field.inner) walk(field.inner(), reader, end, depth + 1, number);
      else if (field.inner) {
        const length = reader.uint32();
        walk(field.inner(), reader, reader.pos + length, depth + 1);
      } else if (isAny && number === 1) type = reader.string();
      else if (isAny) value = reader.bytes();
      else reader.skip(wire, number);
    }
    if (reader.pos !== end || group !== undefined) throw new RangeError('a message ends elsewhere than it says');
    const held = isAny ? registry.getMessage(type.slice(type.lastIndexOf('/') + 1)) : undefined;
    if (held !== undefined) walk(shapeOf(held), new BinaryReader(value), value.length, depth + 1);
  };

  walk(shapeOf(descriptor), new BinaryReader(bytes), bytes.length, 0);
  return parts;
}

/** Number of elements in a packed list. */
function elements(wire: WireType, list: Uint8Array): number {
  if (wire === WireType.Varint) {
    if ((list.at(-1) ?? 0) >= 0x80) throw new RangeError('a packed number has no end');
    return list.reduce((sum, byte) => (byte < 0x80 ? sum + 1 : sum), 0);
  }
  const count = list.length / (wire === WireType.Bit64 ? 8 : 4);
  if (!Number.isInteger(count)) throw new RangeError('a packed number has no end');
  return count;
}

function shapeOf(descriptor: DescMessage): Shape {
  let shape = shapes.get(descriptor);
  if (shape === undefined) {
    const fields = new Map(descriptor.fields.map((field) => [field.number, fieldOf(field)]));
    shape = { fields, isAny: descriptor.typeName === 'google.protobuf.Any' };
    shapes.set(descriptor, shape);
  }
  return shape;
}

function fieldOf(field: DescField): Field {
  const { message } = field;
  const inner = message && (() => shapeOf(message));
  if (field.fieldKind === 'map') {
    // On the wire, a map is a list of messages with a key and a value.
    const fields = new Map([
      [1, plain(field.mapKey)],
      [2, inner ? { wire: WireType.LengthDelimited, inner, packable: false } : plain(field.scalar)],
    ]);
    const entry: Shape = { fields, isAny: false };
    return { wire: WireType.LengthDelimited, inner: () => entry, packable: false };
  }
  if (inner !== undefined) {
    const delimited = 'delimitedEncoding' in field && field.delimitedEncoding;
    return { wire: delimited ? WireType.StartGroup : WireType.LengthDelimited, inner, packable: false };
  }
  const element = plain(field.scalar);
  return { ...element, packable: field.fieldKind === 'list' && element.wire !== WireType.LengthDelimited };
}

/** @param scalar undefined for an enum */
function plain(scalar: ScalarType | undefined): Field {
  return { wire: wireOf(scalar), inner: undefined, packable: false };
}

function wireOf(scalar: ScalarType | undefined): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
    case ScalarType.FLOAT:
      return WireType.Bit32;
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
    case ScalarType.DOUBLE:
      return WireType.Bit64;
    default:
      return WireType.Varint;
  }
}
