/**
 * Declarations of messages and methods about data (`enclaim/handling.proto`), over whole messages
 * and per value.
 *
 * A field carries its own categories, those of its message, and those of every field around it. It
 * is only ever a union, so that declaring more never makes anything carry less.
 */

import {
  type DescField,
  type DescMessage,
  type DescMethod,
  fromBinary,
  getOption,
  type Message,
  ScalarType,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { type Any as AnyMessage, FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type { Category, Label } from '../category.ts';
import { refuse } from '../error.ts';
import { data, type Handling, handling, holds } from '../gen/enclaim/handling_pb.js';
import { methodIdOf, registryOf } from './descriptors.ts';

/** Nesting of messages within messages that a labelled value may have. */
export const MAX_MESSAGE_DEPTH = 64;

/** A field that carries data, by a shortest way to it: `patient.name.family`. */
export interface Carrier {
  readonly path: string;
  readonly field: DescField;
  /**
   * Categories of the field and of its message; those of the fields around it stand with those
   * fields.
   */
  readonly categories: readonly Category[];
}

/**
 * A field of which no declaration says what it carries; `field` is absent if it is the whole
 * message.
 */
export interface Bare {
  readonly path: string;
  readonly field?: DescField;
  readonly why: string;
}

/** Everything that a message can carry. */
export interface Survey {
  readonly carriers: readonly Carrier[];
  readonly bare: readonly Bare[];
  readonly label: Label;
}

/** A field as its message declares it, without its surroundings. */
export interface Plan {
  readonly field: DescField;
  readonly categories: readonly Category[];
  /** The message within, if its fields say what they carry. */
  readonly inner: DescMessage | undefined;
  /** Whether it holds messages of any type, which carry what that type declares. */
  readonly any: boolean;
  /** Present even if it is not on the wire: its zero is a value. */
  readonly always: boolean;
  /** Why it needs a category that it does not have; `wanting` if one from around it would do. */
  readonly bare: string | undefined;
  readonly wanting: string | undefined;
}

const EMPTY = 'google.protobuf.Empty';
/** The type that holds a message of any other. */
export const ANY_TYPE = 'google.protobuf.Any';

/**
 * Well-known types that are like a scalar: their shape is fixed, so a category from around them is
 * enough.
 */
const PLAIN = new Set(
  [
    ...['Timestamp', 'Duration', 'FieldMask', 'Empty', 'BoolValue', 'StringValue', 'DoubleValue', 'FloatValue'],
    ...['Int32Value', 'Int64Value', 'UInt32Value', 'UInt64Value'],
  ].map((name) => `google.protobuf.${name}`),
);

const plans: WeakMap<DescMessage, readonly Plan[]> = new WeakMap();
const surveys: WeakMap<DescMessage, Survey> = new WeakMap();

/**
 * Everything that a message can carry, through all that it nests. Recursive messages are met once.
 * @throws PolicyError `handling` if options cannot be read
 */
export function survey(message: DescMessage): Survey {
  const known = surveys.get(message);
  if (known) return known;
  const carriers = new Map<DescField, Carrier>();
  const bare = new Map<DescField | undefined, Bare>();
  if (isWellKnown(message) && message.typeName !== EMPTY) {
    bare.set(undefined, {
      path: '',
      why: `${message.typeName} has no category by itself; put it in a field that has one`,
    });
  }
  for (const { plan, path, inherits } of reach(message)) {
    const { field, categories } = plan;
    if (categories.length > 0 && !carriers.has(field)) carriers.set(field, { path, field, categories });
    const why = plan.bare ?? (inherits ? undefined : plan.wanting);
    if (why !== undefined && !bare.has(field)) bare.set(field, { path, field, why });
  }
  const label = new Set([...carriers.values()].flatMap(({ categories }) => categories));
  const result: Survey = { carriers: [...carriers.values()], bare: [...bare.values()], label };
  surveys.set(message, result);
  return result;
}

/**
 * A method's declaration; undefined if it has no `(enclaim.handling)`. @throws PolicyError
 * `handling`
 */
export function handlingOf(method: DescMethod): Handling | undefined {
  const unknown = method.proto.options?.$unknown ?? [];
  if (!unknown.some(({ no }) => no === handling.number)) return undefined;
  return readOption(() => getOption(method, handling), methodIdOf(method));
}

/**
 * The label of a message: the categories of its populated fields.
 *
 * - A number, truth value or enum without presence always counts, because its zero is a value.
 * - A message within that is present and empty counts as all that it could carry, because its
 *   presence says something.
 * - An Any carries what its field does, and what the message in it does.
 *
 * @throws PolicyError `handling` if the message has fields that its descriptor does not, nests
 *   too deep, has a populated field without a category, or an Any of a type that was not declared
 *   beside it; `descriptor` if the bytes are not such a message
 *
 * @example
 * ```ts
 * import type { DescMessage } from '@bufbuild/protobuf';
 * import { labelOf } from '@enclaim/policy-schema/admission';
 *
 * function carries(schema: DescMessage, message: Uint8Array): boolean {
 *   return labelOf(schema, message).has('personal.health');
 * }
 * console.log(carries.name);
 * ```
 */
export function labelOf(schema: DescMessage, value: Uint8Array | Message): Label {
  const label = new Set<Category>();
  collect(reflect(schema, value instanceof Uint8Array ? decode(schema, value) : value), false, 0, label);
  return label;
}

function decode(schema: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(schema, bytes);
  } catch (cause) {
    throw refuse('descriptor', `not a ${schema.typeName}`, '', { cause });
  }
}

/** Adds what a message carries. Returns whether anything in it is on the wire. */
function collect(message: ReflectMessage, inherits: boolean, depth: number, label: Set<Category>): boolean {
  const { desc } = message;
  if (depth > MAX_MESSAGE_DEPTH) throw refuse('handling', `messages nested deeper than ${MAX_MESSAGE_DEPTH}`);
  if (message.getUnknown()?.length) throw refuse('handling', `${desc.typeName} has a field that it does not declare`);
  let populated = false;
  for (const { field, categories, inner, any, always, bare, wanting } of planOf(desc)) {
    const set = message.isSet(field);
    populated ||= set;
    if (!set && !always) continue;
    const why = bare ?? (inherits ? undefined : wanting);
    if (why !== undefined) throw refuse('handling', `${desc.typeName}.${field.name} ${why}`);
    for (const category of categories) label.add(category);
    // layer: label of what an Any holds
    if (any) for (const nested of nestedIn(message, field)) collectAny(nested.message, desc, depth + 1, label);
    if (!inner) continue;
    for (const nested of nestedIn(message, field)) {
      if (collect(nested, inherits || categories.length > 0, depth + 1, label)) continue;
      for (const category of survey(inner).label) label.add(category);
    }
  }
  return populated;
}

/**
 * Adds what the message in an Any carries. Its field has a category of its own, so nothing within
 * it can be without.
 */
function collectAny(any: Message, holder: DescMessage, depth: number, label: Set<Category>): void {
  if (depth > MAX_MESSAGE_DEPTH) throw refuse('handling', `messages nested deeper than ${MAX_MESSAGE_DEPTH}`);
  const { typeUrl, value } = any as AnyMessage;
  if (typeUrl === '' && value.length === 0) return;
  const name = typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
  const type = registryOf(holder)?.getMessage(name);
  // The error does not name the type. Without this, a caller would choose what a log says.
  if (type === undefined) throw refuse('handling', `${holder.typeName} has an Any of a type that no .proto declares`);
  const inner = decode(type, value);
  if (type.typeName === ANY_TYPE) collectAny(inner, holder, depth + 1, label);
  // Types of protobuf itself carry what is around them.
  if (isWellKnown(type) || collect(reflect(type, inner), true, depth, label)) return;
  for (const category of survey(type).label) label.add(category);
}

function nestedIn(message: ReflectMessage, field: DescField): Iterable<ReflectMessage> {
  if (field.fieldKind === 'message') return [message.get(field)];
  if (field.fieldKind === 'list') return message.get(field) as Iterable<ReflectMessage>;
  if (field.fieldKind === 'map') return message.get(field).values() as Iterable<ReflectMessage>;
  return [];
}

/**
 * Every field that can be reached, breadth first, so that the first way found to each is a shortest
 * one.
 */
function* reach(message: DescMessage): Generator<{ plan: Plan; path: string; inherits: boolean }> {
  const queue = [{ message, path: '', inherits: false }];
  const seen = new Set<string>();
  for (const { message: at, path: prefix, inherits } of queue) {
    const key = `${at.typeName} ${inherits}`;
    if (seen.has(key)) continue;
    seen.add(key);
    for (const plan of planOf(at)) {
      const path = prefix === '' ? plan.field.name : `${prefix}.${plan.field.name}`;
      yield { plan, path, inherits };
      const { inner, categories } = plan;
      if (inner) queue.push({ message: inner, path, inherits: inherits || categories.length > 0 });
    }
  }
}

/** The plan of each field of a message. @throws PolicyError `handling` if options cannot be read */
export function planOf(message: DescMessage): readonly Plan[] {
  const known = plans.get(message);
  if (known) return known;
  const ofMessage = readOption(() => getOption(message, holds), message.typeName);
  const made = message.fields.map((field): Plan => {
    const own = readOption(() => getOption(field, data), `${message.typeName}.${field.name}`);
    const categories = [...new Set([...own, ...ofMessage])].sort();
    const type = messageOf(field);
    const inner = type && !isWellKnown(type) ? type : undefined;
    return {
      field,
      categories,
      inner,
      any: type?.typeName === ANY_TYPE,
      always: isAlwaysThere(field),
      bare: own.length === 0 && isOpaque(field) ? 'can hold anything and needs a category of its own' : undefined,
      wanting: categories.length === 0 ? wantOf(field, inner) : undefined,
    };
  });
  plans.set(message, made);
  return made;
}

/**
 * Why a field without a category needs one. A message within mostly does not, because its fields
 * have theirs.
 */
function wantOf(field: DescField, inner: DescMessage | undefined): string | undefined {
  if (!inner) return 'has no category';
  if (field.fieldKind === 'map') return 'has no category for its keys';
  return saysNothing(inner) ? 'has no category, and nothing within it has' : undefined;
}

/**
 * Whether a message has no fields but messages of this same kind: then all it says is that it is
 * there.
 */
function saysNothing(message: DescMessage): boolean {
  const queue = [message];
  const seen = new Set(queue);
  for (const { fields } of queue) {
    for (const field of fields) {
      const inner = messageOf(field);
      if (!inner || isWellKnown(inner)) return false;
      if (!seen.has(inner)) queue.push(inner);
      seen.add(inner);
    }
  }
  return true;
}

/**
 * Whether a field has no presence and its zero is a value like any other. An empty string or list
 * is an absent one.
 */
function isAlwaysThere(field: DescField): boolean {
  if (field.presence !== FeatureSet_FieldPresence.IMPLICIT) return false;
  if (field.fieldKind === 'enum') return true;
  return field.fieldKind === 'scalar' && field.scalar !== ScalarType.STRING && field.scalar !== ScalarType.BYTES;
}

/**
 * Whether a field can hold data of any shape, so that only the author of the .proto can say what it
 * carries.
 */
function isOpaque(field: DescField): boolean {
  if ('scalar' in field && field.scalar === ScalarType.BYTES) return true;
  const type = messageOf(field);
  return type !== undefined && isWellKnown(type) && !PLAIN.has(type.typeName);
}

function messageOf(field: DescField): DescMessage | undefined {
  return field.fieldKind === 'message' || field.fieldKind === 'list' || field.fieldKind === 'map'
    ? field.message
    : undefined;
}

/** Whether a type is one of protobuf's own. */
export function isWellKnown({ typeName }: DescMessage): boolean {
  return typeName.startsWith('google.protobuf.');
}

function readOption<T>(read: () => T, of: string): T {
  try {
    return read();
  } catch (cause) {
    throw refuse('handling', `${of} has options that cannot be read`, '', { cause });
  }
}
