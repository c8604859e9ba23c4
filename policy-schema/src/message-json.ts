/**
 * Messages from JSON, with whole numbers as they are written. Without this, `JSON.parse` would
 * round what a double cannot hold, without a word.
 */

import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonReadOptions,
  type JsonValue,
  type Message,
  type Registry,
  ScalarType,
} from '@bufbuild/protobuf';

/** A whole number with the text that it was parsed from, which may say more. */
class Written {
  readonly source: string;
  readonly value: number;

  constructor(source: string, value: number) {
    this.source = source;
    this.value = value;
  }
}

/**
 * Parsed JSON of which no number is lost yet.
 *
 * @example
 * ```ts
 * import type { DescMessage, Message, Registry } from '@bufbuild/protobuf';
 * import { ExactJson } from '@enclaim/policy-schema/admission';
 *
 * // A whole number beyond 2^53 is kept. `JSON.parse` would round it.
 * function messageOf(schema: DescMessage, registry: Registry, json: string): Message {
 *   return ExactJson.parse(json).toMessage(schema, { registry });
 * }
 * console.log(messageOf.name);
 * ```
 */
export class ExactJson {
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  /** Parses a text. @throws SyntaxError if it is not JSON */
  static parse(text: string): ExactJson {
    return new ExactJson(
      JSON.parse(text, (_, value: unknown, context?: { readonly source?: string }) => {
        const source = context?.source;
        if (source === undefined || typeof value !== 'number' || !Number.isInteger(value)) return value;
        const isSame = Number.isSafeInteger(value) && source.length <= MAX_SAFE_CHARS && !/e-/i.test(source);
        return isSame ? value : new Written(source, value);
      }),
    );
  }

  /** The members of an array; undefined if it is none. */
  get elements(): ExactJson[] | undefined {
    return Array.isArray(this.#value) ? this.#value.map((each) => new ExactJson(each)) : undefined;
  }

  /**
   * The message that this is in proto3 JSON. A field of whole numbers takes them as they are
   * written.
   * @throws Error if it is not one, or has a whole number that was rounded before
   */
  toMessage(descriptor: DescMessage, options: ReadOptions): Message {
    const value = holdsUnsafe(this.#value) ? settled(this.#value, descriptor, false, options.registry) : this.#value;
    return fromJson(descriptor, value as JsonValue, options);
  }
}

type ReadOptions = Partial<JsonReadOptions> & { readonly registry: Registry };

/**
 * Characters of a number that is written plainly and can be held by a double: sixteen digits and a
 * sign.
 */
const MAX_SAFE_CHARS = 17;
const WHOLE = /^-?[0-9]+$/;
const INTEGERS: ReadonlySet<ScalarType> = new Set([
  ...[ScalarType.INT32, ScalarType.UINT32, ScalarType.SINT32, ScalarType.FIXED32, ScalarType.SFIXED32],
  ...[ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64],
]);
/** Well-known messages whose JSON is that of their one field. */
const WRAPPER = /^google\.protobuf\.(?:U?Int(?:32|64)|Double|Float|Bool|String|Bytes)Value$/;

/**
 * Whether a number in it needs to be settled. It walks by a queue, because what a client sends may
 * be deep.
 */
function holdsUnsafe(json: unknown): boolean {
  const queue: unknown[] = [json];
  for (let value = queue.pop(); value !== undefined; value = queue.pop()) {
    if (value instanceof Written) return true;
    if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) return true;
    if (typeof value === 'object' && value !== null) for (const inner of Object.values(value)) queue.push(inner);
  }
  return false;
}

/**
 * JSON whose numbers are those of its type: in fields of whole numbers as text, else as doubles.
 * @param descriptor the message that it is, or holds; undefined within a Struct, whose numbers are
 *   doubles
 * @param whole whether a number is one of a field of whole numbers
 */
function settled(json: unknown, descriptor: DescMessage | undefined, whole: boolean, registry: Registry): unknown {
  if (json instanceof Written) {
    if (!whole) return json.value;
    if (!WHOLE.test(json.source)) throw new RangeError(`expected a whole number in digits, found ${json.source}`);
    return json.source;
  }
  if (typeof json === 'number') {
    if (whole && Number.isInteger(json) && !Number.isSafeInteger(json))
      throw new RangeError('a whole number beyond 2^53 has been rounded: expected it as text');
    return json;
  }
  if (typeof json !== 'object' || json === null) return json;
  if (Array.isArray(json)) return json.map((each) => settled(each, descriptor, whole, registry));
  const held = descriptor?.typeName === 'google.protobuf.Any' ? typeIn(json, registry) : descriptor;
  return Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      // A well-known type stands under this name in an Any's JSON.
      if (held !== descriptor && name === 'value' && held?.typeName.startsWith('google.protobuf.'))
        return [name, settled(value, held, isWholeWrapper(held), registry)];
      const field = held?.fields.find((each) => each.jsonName === name || each.name === name);
      return [name, field === undefined ? settled(value, undefined, false, registry) : inField(value, field, registry)];
    }),
  );
}

function inField(value: unknown, field: DescField, registry: Registry): unknown {
  const { message } = field;
  const whole =
    message === undefined ? field.scalar !== undefined && INTEGERS.has(field.scalar) : isWholeWrapper(message);
  const isMap = field.fieldKind === 'map' && typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap || value instanceof Written) return settled(value, message, whole, registry);
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, settled(each, message, whole, registry)]),
  );
}

function isWholeWrapper({ typeName, fields: [only] }: DescMessage): boolean {
  return WRAPPER.test(typeName) && only?.scalar !== undefined && INTEGERS.has(only.scalar);
}

/** The type of an Any's JSON, if it is known. */
function typeIn(json: object, registry: Registry): DescMessage | undefined {
  const url: unknown = Reflect.get(json, '@type');
  return typeof url === 'string' ? registry.getMessage(url.slice(url.lastIndexOf('/') + 1)) : undefined;
}
