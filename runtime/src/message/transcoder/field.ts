/** Fields of a compiled message: how each is read from the wire, and written to it. */

import { type BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Json } from '../../worker/json-text.ts';
import type { FoundTexts } from './found-texts.ts';
import type { Kind } from './kind.ts';
import { unusual } from './unusual.ts';
import type { WireReader } from './wire-reader.ts';

/** A message while it is written. */
export interface Writing {
  readonly writer: BinaryWriter;
  readonly texts: FoundTexts | undefined;
  /** The message's label so far. */
  label: number;
}

/** The content of a field: single values, lists or maps, of scalars or messages. */
export interface Content {
  /**
   * Reads the field, of whose first tag the reader has the wire type. Returns its JSON text; empty
   * if the field counts as absent.
   *
   * @param end of the message around it
   * @param depth of the message around it
   */
  read(reader: WireReader, end: number, depth: number): string;
  /**
   * Writes the field, tag and all. Returns whether there was anything to write.
   *
   * @param json not null
   */
  write(writing: Writing, json: Json, depth: number): boolean;
}

/** A message type whose fields are known; they may be compiled after it. */
export interface Shape {
  /** Reads up to `end`, and returns the message's JSON text. */
  read(reader: WireReader, end: number, depth: number): string;
  /** Writes the message. Returns whether it has a field. */
  write(writing: Writing, json: Json, depth: number): boolean;
  /** Label of all that it can carry, which an empty message counts as. */
  readonly all: number;
}

/** JSON text of a message without fields. */
export const EMPTY = '{}';

/** A field, and what its presence says. */
export interface FieldPlan {
  readonly number: number;
  /** Its own label. */
  readonly label: number;
  /** Whether its zero is absent. */
  readonly implicit: boolean;
}

/** A field that the reference reads and writes. */
export const LEFT: Content = { read: unusual, write: unusual };

/** A field with one value that is no message, or is like none. */
export function single({ number, label, implicit }: FieldPlan, kind: Kind<unknown>): Content {
  const { wire, read, pass, parse, isZero, write, text } = kind;
  const tag = tagOf(number, wire);
  return {
    read: (reader) => {
      if (reader.wireType !== wire) unusual();
      const { texts } = reader;
      let found: string;
      if (texts === undefined) found = pass(reader, implicit);
      else {
        const value = read(reader);
        if (implicit && isZero(value)) return '';
        texts.value(kind.json(value), kind.hidden(value));
        found = text(value);
      }
      if (found !== '') reader.label |= label;
      return found;
    },
    write: (writing, json) => {
      const value = parse(json);
      if (implicit && isZero(value)) return false;
      const { writer, texts } = writing;
      writing.label |= label;
      texts?.value(kind.json(value), kind.hidden(value));
      writer.uint32(tag);
      write(writer, value);
      return true;
    },
  };
}

/** A field with one message. */
export function message({ number, label }: FieldPlan, shape: Shape): Content {
  const tag = tagOf(number, WireType.LengthDelimited);
  return {
    read: (reader, _end, depth) => {
      reader.label |= label;
      return readMessage(reader, shape, depth + 1);
    },
    write: (writing, json, depth) => {
      writing.label |= label;
      writeMessage(writing, tag, shape, json, depth + 1);
      return true;
    },
  };
}

/** A list of values. */
export function listOf({ number, label }: FieldPlan, kind: Kind<unknown>, packed: boolean): Content {
  const { wire, packable, read, pass, parse, write } = kind;
  const tag = tagOf(number, wire);
  return {
    read: (reader, end) => {
      const { texts } = reader;
      const elements = texts && new Elements(kind);
      const next = (): string => {
        if (elements === undefined) return `,${pass(reader, false)}`;
        const value = read(reader);
        elements.add(value);
        return `,${kind.text(value)}`;
      };
      let list = '';
      do {
        if (reader.wireType === wire) list += next();
        else if (!packable || reader.wireType !== WireType.LengthDelimited) unusual();
        else {
          const behind = reader.span();
          while (reader.pos < behind) {
            reader.count(1);
            list += next();
          }
          if (reader.pos !== behind) unusual();
        }
      } while (reader.continues(number, end));
      if (list === '') return '';
      reader.label |= label;
      if (texts !== undefined) elements?.tell(texts);
      return `[${list.slice(1)}]`;
    },
    write: (writing, json) => {
      const list = arrayIn(json);
      if (list.length === 0) return false;
      const { writer, texts } = writing;
      const elements = texts && new Elements(kind);
      writing.label |= label;
      if (packed) writer.uint32(tagOf(number, WireType.LengthDelimited)).fork();
      for (const each of list) {
        const value = parse(each);
        elements?.add(value);
        if (!packed) writer.uint32(tag);
        write(writer, value);
      }
      if (packed) writer.join();
      if (texts !== undefined) elements?.tell(texts);
      return true;
    },
  };
}

/** A list of messages. */
export function listOfMessages({ number, label }: FieldPlan, shape: Shape): Content {
  const tag = tagOf(number, WireType.LengthDelimited);
  return {
    read: (reader, end, depth) => {
      reader.label |= label;
      let list = readMessage(reader, shape, depth + 1);
      while (reader.continues(number, end)) list += `,${readMessage(reader, shape, depth + 1)}`;
      return `[${list}]`;
    },
    write: (writing, json, depth) => {
      const list = arrayIn(json);
      if (list.length === 0) return false;
      writing.label |= label;
      for (const each of list) writeMessage(writing, tag, shape, each, depth + 1);
      return true;
    },
  };
}

/** The values of a map: scalars, or messages. */
export type MapValue = { readonly kind: Kind<unknown> } | { readonly shape: Shape };

/**
 * A map. On the wire it is a list of messages with a key and a value.
 *
 * @param keyOf the key that a JSON name is, if it is written as usual
 */
export function mapOf(
  { number, label }: FieldPlan,
  key: Kind<unknown>,
  keyOf: (name: string) => unknown,
  value: MapValue,
): Content {
  const tag = tagOf(number, WireType.LengthDelimited);
  const [keyTag, valueTag] = [
    tagOf(1, key.wire),
    tagOf(2, 'kind' in value ? value.kind.wire : WireType.LengthDelimited),
  ];
  return {
    read: (reader, end, depth) => {
      const { texts } = reader;
      const hidden: HiddenByName = new Map();
      const entries: Record<string, string> = Object.create(null);
      do {
        if (reader.wireType !== WireType.LengthDelimited) unusual();
        const behind = reader.span();
        if (reader.tag() !== 1 || reader.wireType !== key.wire) unusual();
        const name = String(key.json(key.read(reader)));
        texts?.name(name);
        if (entries[name] !== undefined || reader.tag() !== 2) unusual();
        if ('shape' in value) entries[name] = readMessage(reader, value.shape, depth + 2);
        else entries[name] = readValue(reader, value.kind, name, hidden);
        if (reader.pos !== behind) unusual();
      } while (reader.continues(number, end));
      reader.label |= label;
      // Names that are indices of an array come first, by number, as in every object.
      const names = Object.keys(entries);
      texts?.together(names.flatMap((name) => hidden.get(name) ?? []));
      let map = '';
      for (const name of names) map += `,${JSON.stringify(name)}:${entries[name]}`;
      return `{${map.slice(1)}}`;
    },
    write: (writing, json, depth) => {
      const { writer, texts } = writing;
      const hidden: HiddenByName = new Map();
      const map = objectIn(json);
      const names = Object.keys(map);
      if (names.length === 0) return false;
      writing.label |= label;
      for (const name of names) {
        const each = map[name] ?? null;
        texts?.name(name);
        writer.uint32(tag).fork().uint32(keyTag);
        key.write(writer, keyOf(name));
        if ('shape' in value) writeMessage(writing, valueTag, value.shape, each, depth + 2);
        else {
          const parsed = value.kind.parse(each);
          if (texts !== undefined) tellOne(texts, value.kind, parsed, name, hidden);
          writer.uint32(valueTag);
          value.kind.write(writer, parsed);
        }
        writer.join();
      }
      texts?.together([...hidden.values()].flat());
      return true;
    },
  };
}

/** An object of JSON. */
export function objectIn(json: Json): { readonly [name: string]: Json } {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) unusual();
  return json as { readonly [name: string]: Json };
}

function arrayIn(json: Json): readonly Json[] {
  return Array.isArray(json) ? json : unusual();
}

function tagOf(number: number, wire: WireType): number {
  return ((number << 3) | wire) >>> 0;
}

function readMessage(reader: WireReader, shape: Shape, depth: number): string {
  if (reader.wireType !== WireType.LengthDelimited) unusual();
  const text = shape.read(reader, reader.span(), depth);
  if (text === EMPTY) reader.label |= shape.all;
  return text;
}

function writeMessage(writing: Writing, tag: number, shape: Shape, json: Json, depth: number): void {
  const { writer } = writing;
  writer.uint32(tag).fork();
  if (!shape.write(writing, json, depth)) writing.label |= shape.all;
  writer.join();
}

/** Texts of bytes in a map's values, by the names of their entries. */
type HiddenByName = Map<string, readonly string[]>;

/** Reads a value of a map. */
function readValue(reader: WireReader, kind: Kind<unknown>, name: string, hidden: HiddenByName): string {
  if (reader.wireType !== kind.wire) unusual();
  const { texts } = reader;
  if (texts === undefined) return kind.pass(reader, false);
  const value = kind.read(reader);
  tellOne(texts, kind, value, name, hidden);
  return kind.text(value);
}

/** Tells the texts of a map's value, and keeps those of bytes, which are told together as well. */
function tellOne(texts: FoundTexts, kind: Kind<unknown>, value: unknown, name: string, hidden: HiddenByName): void {
  const own = kind.hidden(value);
  texts.value(kind.json(value), own);
  if (value instanceof Uint8Array) hidden.set(name, own);
}

/** Texts of a list's elements: each by itself, and all together, as JSON and as bytes. */
class Elements {
  readonly #kind: Kind<unknown>;
  readonly #json: Json[] = [];
  readonly #hidden: string[] = [];
  readonly #bytes: string[] = [];

  constructor(kind: Kind<unknown>) {
    this.#kind = kind;
  }

  add(value: unknown): void {
    const hidden = this.#kind.hidden(value);
    this.#json.push(this.#kind.json(value));
    for (const text of hidden) this.#hidden.push(text);
    if (value instanceof Uint8Array) for (const text of hidden) this.#bytes.push(text);
  }

  tell(texts: FoundTexts): void {
    texts.value(this.#json, this.#hidden);
    texts.together(this.#bytes);
  }
}
