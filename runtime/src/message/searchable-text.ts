/**
 * The texts of a message as detectors see them: as JSON, as the values that it carries, and as
 * bytes on the wire.
 */

import {
  type DescField,
  type DescMessage,
  type Message,
  type Registry,
  ScalarType,
  toBinary,
  type UnknownField,
} from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { type Any, AnySchema, anyUnpack, type FieldMask, FieldMaskSchema } from '@bufbuild/protobuf/wkt';
import type { Json } from '../worker/json-text.ts';

/** Facts about a message type, including all types in its reach. */
interface Reach {
  /** JSON names of fields. The owner chose them, so they are no data. */
  readonly names: ReadonlySet<string>;
  /** Whether a message can carry text that its JSON shows in another form: bytes, field masks. */
  readonly hidden: boolean;
  /**
   * Whether the encoded bytes can spell further text: by numbers without tags between them, or by
   * numbers eight bytes long.
   */
  readonly spelling: boolean;
}

const reaches: WeakMap<DescMessage, Reach> = new WeakMap();
const NO_NAMES: ReadonlySet<string> = new Set();
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const lossy = new TextDecoder('utf-8', { ignoreBOM: true });
/** Characters of a list's texts that are also searched as one text. */
const MAX_LIST_CHARS = 64 * 1024;
/** Characters of the shortest text that a detector can find. */
const SHORTEST_PIECE = 6;

/**
 * Every text in a JSON value, including names of map entries. The texts of a list are added once
 * more as one text.
 *
 * @param names names of fields, which are left out
 */
export function textsOf(json: Json, names: ReadonlySet<string> = NO_NAMES): string[] {
  const found: string[] = [];
  const queue: Json[] = [json];
  for (let value = queue.pop(); value !== undefined; value = queue.pop()) {
    if (typeof value === 'string') found.push(value);
    else if (typeof value === 'number') found.push(String(value));
    else if (Array.isArray(value)) {
      // Pushed one by one: as arguments of one call they would have to fit on the stack.
      for (const inner of value) queue.push(inner);
      found.push(...joined(value.filter((inner) => typeof inner === 'string')));
    } else if (typeof value === 'object' && value !== null) {
      for (const [name, inner] of Object.entries(value)) {
        if (!names.has(name)) found.push(name);
        queue.push(inner as Json);
      }
    }
  }
  return found;
}

/**
 * The texts of a message: those of its JSON, and once more, as a text, each value that JSON shows
 * in another form. Bytes are read as UTF-8, or else as a character for each byte.
 *
 * @param json the same message
 * @param registry types that it may hold in an `Any`
 */
export function leavesOf(descriptor: DescMessage, message: Message, json: Json, registry: Registry): string[] {
  const texts = textsOf(json, namesIn(descriptor));
  for (const text of hiddenOf(descriptor, message, registry)) texts.push(text);
  return texts;
}

/** The part of {@link leavesOf} that the message's JSON shows in another form. */
export function hiddenOf(descriptor: DescMessage, message: Message, registry: Registry): Iterable<string> {
  if (!reachOf(descriptor).hidden && message.$unknown === undefined) return [];
  return hiddenIn(reflect(descriptor, message, false), registry);
}

/** JSON names of the fields of a type and of all in its reach. The owner chose them: no data. */
export function namesIn(descriptor: DescMessage): ReadonlySet<string> {
  return reachOf(descriptor).names;
}

/**
 * Texts in the encoded bytes of a message beyond {@link leavesOf}: the runs between characters that
 * no text has, even if tags and lengths are among them. Empty for types whose bytes cannot spell
 * more than their JSON.
 */
export function wireTextsOf(descriptor: DescMessage, message: Message): string[] {
  if (!reachOf(descriptor).spelling && message.$unknown === undefined) return [];
  return spelledIn(toBinary(descriptor, message));
}

/** {@link wireTextsOf} a message of which only the bytes are at hand, and all fields known. */
export function wireTextsIn(descriptor: DescMessage, bytes: Uint8Array): string[] {
  return reachOf(descriptor).spelling ? spelledIn(bytes) : [];
}

function spelledIn(bytes: Uint8Array): string[] {
  const pieces = lossy.decode(bytes).split(/[\p{Cc}\ufffd]+/u);
  return pieces.filter(({ length }) => length >= SHORTEST_PIECE);
}

function reachOf(descriptor: DescMessage): Reach {
  let reach = reaches.get(descriptor);
  if (reach === undefined) {
    const types = new Set([descriptor]);
    // Iterating over a set also visits entries that are added meanwhile.
    for (const { fields } of types) {
      for (const { message } of fields) if (message !== undefined) types.add(message);
    }
    const fields = [...types].flatMap((type) => type.fields);
    reach = {
      names: new Set(fields.map(({ jsonName }) => jsonName)),
      hidden: [...types].some(isMask) || fields.some(isBytes),
      spelling: [...types].some(isAny) || fields.some(spells),
    };
    reaches.set(descriptor, reach);
  }
  return reach;
}

function isBytes(field: DescField): boolean {
  return 'scalar' in field && field.scalar === ScalarType.BYTES;
}

function isMask({ typeName }: DescMessage): boolean {
  return typeName === FieldMaskSchema.typeName;
}

/** Whether a type can hold any message. */
function isAny({ typeName }: DescMessage): boolean {
  return typeName === AnySchema.typeName;
}

/** Whether a field's numbers can stand side by side, or are eight bytes long. */
function spells(field: DescField): boolean {
  if (field.fieldKind === 'list' && field.listKind !== 'message') return field.scalar !== ScalarType.STRING;
  switch (field.scalar) {
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
    case ScalarType.DOUBLE:
      return true;
    default:
      return false;
  }
}

function* hiddenIn(message: ReflectMessage, registry: Registry): Generator<string> {
  for (const { data } of (message.getUnknown() as UnknownField[] | undefined) ?? []) yield textOf(data);
  if (isMask(message.desc)) {
    const { paths } = message.message as FieldMask;
    yield* paths;
    yield* joined(paths);
  }
  if (isAny(message.desc)) {
    const held = unpacked(message.message as Any, registry);
    if (held !== undefined) yield* hiddenIn(held, registry);
  }
  for (const field of message.fields) {
    if (!message.isSet(field) || !(isBytes(field) || (field.message && reachOf(field.message).hidden))) continue;
    const bytes: string[] = [];
    for (const value of valuesOf(message, field)) {
      if (value instanceof Uint8Array) bytes.push(textOf(value));
      else yield* hiddenIn(value, registry);
    }
    yield* bytes;
    yield* joined(bytes);
  }
}

/** The message in an `Any`, if its type is known and its bytes are valid for that type. */
function unpacked(any: Any, registry: Registry): ReflectMessage | undefined {
  try {
    const held = anyUnpack(any, registry);
    const descriptor = held && registry.getMessage(held.$typeName);
    return descriptor && reflect(descriptor, held, false);
  } catch {
    return undefined; // its bytes are searched as they are
  }
}

/** The values of a field of bytes or of messages. */
function valuesOf(message: ReflectMessage, field: DescField): Iterable<Uint8Array | ReflectMessage> {
  if (field.fieldKind === 'list') return message.get(field) as Iterable<Uint8Array | ReflectMessage>;
  if (field.fieldKind === 'map') return message.get(field).values() as Iterable<Uint8Array | ReflectMessage>;
  return [message.get(field) as Uint8Array | ReflectMessage];
}

/**
 * The texts of a list as one text, if there are several and they are not too long: a list may be a
 * text in pieces.
 */
export function joined(texts: readonly string[]): string[] {
  if (texts.length < 2) return [];
  const length = texts.reduce((sum, text) => sum + text.length, 0);
  return length > MAX_LIST_CHARS ? [] : [texts.join('')];
}

/** Bytes as a text: as UTF-8, or else a character for each byte. */
export function textOf(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  }
}
