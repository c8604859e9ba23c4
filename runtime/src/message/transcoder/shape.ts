/**
 * Message types compiled from descriptor and policy into closures: each reads the bytes of a
 * message as JSON text, or writes JSON as bytes, and labels the message on its way.
 */

import { type DescField, type DescMessage, type Registry, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { MAX_MESSAGE_DEPTH, type Plan, planOf, survey } from '@enclaim/policy-schema/admission';
import type { Json } from '../../worker/json-text.ts';
import type { CategoryBits } from './category-bits.ts';
import {
  type Content,
  EMPTY,
  type FieldPlan,
  LEFT,
  listOf,
  listOfMessages,
  type MapValue,
  mapOf,
  message,
  objectIn,
  type Shape,
  single,
  type Writing,
} from './field.ts';
import type { Kind } from './kind.ts';
import { DIGITS, enumKind, scalarKind } from './scalar.ts';
import { unusual } from './unusual.ts';
import { flatKind } from './well-known.ts';
import type { WireReader } from './wire-reader.ts';

/** A field of a compiled message. */
interface Field {
  /** Place among the fields by number, in which they stand in JSON and on the wire. */
  readonly index: number;
  /** Its name and a colon, as in JSON. */
  readonly key: string;
  /** Bit of the choice that it belongs to; 0 if to none. */
  readonly choice: number;
  readonly content: Content;
}

/** Choices of a message: the bits of a small integer. */
const MAX_CHOICES = 31;
/** Names that do not stand in an object of JSON in the order in which they were added. */
const OUT_OF_ORDER = /^(?:0|[1-9][0-9]*|__proto__)$/;

/** Compiles message types whose categories have bits. */
export class ShapeCompiler {
  readonly #bits: CategoryBits;
  readonly #registry: Registry;
  readonly #shapes = new Map<DescMessage, CompiledShape | undefined>();

  constructor(bits: CategoryBits, registry: Registry) {
    this.#bits = bits;
    this.#registry = registry;
  }

  /**
   * The shape of a message type; undefined if the reference keeps it: a type of protobuf's own, one
   * with fields that must be there (proto2), or with names that JSON has in another order.
   */
  shapeOf(type: DescMessage): Shape | undefined {
    if (this.#shapes.has(type)) return this.#shapes.get(type);
    const isUsual =
      type.oneofs.length <= MAX_CHOICES &&
      (!type.typeName.startsWith('google.protobuf.') || type.fields.length === 0) &&
      !type.fields.some(isRequired) &&
      !type.fields.some(({ name, jsonName }) => OUT_OF_ORDER.test(jsonName) || OUT_OF_ORDER.test(name));
    const shape = isUsual ? new CompiledShape(this.#bits.maskOf(survey(type).label)) : undefined;
    // Known before its fields are compiled: a message may hold its own kind.
    this.#shapes.set(type, shape);
    shape?.complete(type, this.#fieldsOf(type), this.#alwaysOf(type));
    return shape;
  }

  #fieldsOf(type: DescMessage): Map<DescField, Field> {
    const sorted = planOf(type).toSorted((a, b) => a.field.number - b.field.number);
    return new Map(
      sorted.map((plan, index) => {
        const { field } = plan;
        const { oneof } = field;
        const choice = oneof === undefined ? 0 : 1 << type.oneofs.indexOf(oneof);
        return [field, { index, key: `${JSON.stringify(field.jsonName)}:`, choice, content: this.#contentOf(plan) }];
      }),
    );
  }

  /** The label of fields without presence whose zero is a value. */
  #alwaysOf(type: DescMessage): number {
    return this.#bits.maskOf(planOf(type).flatMap(({ always, categories }) => (always ? categories : [])));
  }

  #contentOf({ field, categories }: Plan): Content {
    const plan: FieldPlan = {
      number: field.number,
      label: this.#bits.maskOf(categories),
      implicit: field.presence === FeatureSet_FieldPresence.IMPLICIT,
    };
    if ('delimitedEncoding' in field && field.delimitedEncoding) return LEFT;
    const value = this.#valueOf(field);
    if (value === undefined) return LEFT;
    switch (field.fieldKind) {
      case 'scalar':
      case 'enum':
      case 'message':
        return 'kind' in value ? single(plan, value.kind) : message(plan, value.shape);
      case 'list':
        return 'kind' in value ? listOf(plan, value.kind, field.packed) : listOfMessages(plan, value.shape);
      case 'map':
        return mapOf(plan, scalarKind(field.mapKey), keyReader(field.mapKey), value);
    }
  }

  /** The kind or shape of a field's values; undefined if the reference keeps the field. */
  #valueOf({ scalar, enum: enumeration, message: type }: DescField): MapValue | undefined {
    if (scalar !== undefined) return { kind: scalarKind(scalar) };
    const kind: Kind<unknown> | undefined =
      (enumeration && enumKind(enumeration)) ?? (type && flatKind(type, this.#registry));
    if (kind !== undefined) return { kind };
    const shape = type && this.shapeOf(type);
    return shape && { shape };
  }
}

/** A message type. Its fields are set after its making, because they may hold the type itself. */
class CompiledShape implements Shape {
  readonly all: number;
  #always = 0;
  #count = 0;
  readonly #byNumber = new Map<number, Field>();
  readonly #byName = new Map<string, Field>();

  constructor(all: number) {
    this.all = all;
  }

  complete(type: DescMessage, fields: ReadonlyMap<DescField, Field>, always: number): void {
    this.#always = always;
    this.#count = type.fields.length;
    for (const [{ number, name, jsonName }, field] of fields) {
      this.#byNumber.set(number, field);
      this.#byName.set(name, field);
      this.#byName.set(jsonName, field);
    }
  }

  read(reader: WireReader, end: number, depth: number): string {
    if (depth > MAX_MESSAGE_DEPTH) unusual();
    reader.label |= this.#always;
    return reader.anyOrder ? this.#readInAnyOrder(reader, end, depth) : this.#readInOrder(reader, end, depth);
  }

  /** Reads fields that come by number, as most encoders write them. */
  #readInOrder(reader: WireReader, end: number, depth: number): string {
    let text = '';
    let last = -1;
    let choices = 0;
    while (reader.pos < end) {
      const { index, key, choice, content } = this.#byNumber.get(reader.tag()) ?? unusual();
      if (index < last) reader.disordered = true;
      if (index <= last || (choices & choice) !== 0) unusual();
      last = index;
      choices |= choice;
      const value = content.read(reader, end, depth);
      if (value !== '') text += text === '' ? `{${key}${value}` : `,${key}${value}`;
    }
    if (reader.pos !== end) unusual();
    return text === '' ? EMPTY : `${text}}`;
  }

  /** Reads fields of which each comes once. Some encoders write a choice behind all the rest. */
  #readInAnyOrder(reader: WireReader, end: number, depth: number): string {
    const texts = new Array<string | undefined>(this.#count);
    let choices = 0;
    while (reader.pos < end) {
      const { index, key, choice, content } = this.#byNumber.get(reader.tag()) ?? unusual();
      if (texts[index] !== undefined || (choices & choice) !== 0) unusual();
      choices |= choice;
      const value = content.read(reader, end, depth);
      texts[index] = value === '' ? '' : `${key}${value}`;
    }
    if (reader.pos !== end) unusual();
    return `{${texts.filter((text) => text !== undefined && text !== '').join(',')}}`;
  }

  write(writing: Writing, json: Json, depth: number): boolean {
    if (depth > MAX_MESSAGE_DEPTH) unusual();
    writing.label |= this.#always;
    const object = objectIn(json);
    let written = false;
    let last = -1;
    let choices = 0;
    for (const name of this.#inOrder(Object.keys(object))) {
      const { index, choice, content } = this.#byName.get(name) ?? unusual();
      const value = object[name] ?? null;
      // One field by both of its names, or two of one choice.
      if (index === last || (choice !== 0 && (value === null || (choices & choice) !== 0))) unusual();
      last = index;
      choices |= choice;
      // Null is absent, but for a `Value` and a `NullValue`, which the reference writes.
      if ((value !== null || content === LEFT) && content.write(writing, value, depth)) written = true;
    }
    return written;
  }

  /** Names in JSON, in the order of their fields' numbers. */
  #inOrder(names: string[]): string[] {
    let last = -1;
    for (const name of names) {
      const { index } = this.#byName.get(name) ?? unusual();
      if (index < last) return names.sort((a, b) => this.#indexOf(a) - this.#indexOf(b));
      last = index;
    }
    return names;
  }

  #indexOf(name: string): number {
    return this.#byName.get(name)?.index ?? unusual();
  }
}

/** Whether a message without the field cannot be written (proto2). */
function isRequired({ presence }: DescField): boolean {
  return presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
}

/** How the key of a map's entry is read from its name in JSON. */
function keyReader(type: ScalarType): (name: string) => unknown {
  const { parse } = scalarKind(type);
  switch (type) {
    case ScalarType.BOOL:
      return (name) => (name === 'true' || name === 'false' ? name === 'true' : unusual());
    case ScalarType.INT32:
    case ScalarType.UINT32:
    case ScalarType.SINT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return (name) => (DIGITS.test(name) ? parse(Number(name)) : unusual());
    default:
      return parse;
  }
}
