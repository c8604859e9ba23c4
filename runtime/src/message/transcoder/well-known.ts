/**
 * Protobuf's own messages that are like a scalar: each is read and written by the library, and the
 * message around it in one pass.
 *
 * `Any`, `Struct`, `Value` and `ListValue` are not among them. They nest, and what they hold has a
 * label or a depth of its own.
 */

import {
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import type { Json } from '../../worker/json-text.ts';
import { weigh } from '../part-limit.ts';
import { hiddenOf } from '../searchable-text.ts';
import { type Kind, kindOf } from './kind.ts';
import { unusual } from './unusual.ts';

const FLAT: ReadonlySet<string> = new Set(
  [
    ...['Timestamp', 'Duration', 'FieldMask', 'Empty', 'BoolValue', 'StringValue', 'BytesValue', 'DoubleValue'],
    ...['FloatValue', 'Int32Value', 'Int64Value', 'UInt32Value', 'UInt64Value'],
  ].map((name) => `google.protobuf.${name}`),
);

/** The kind of a message that is like a scalar; undefined for any other. */
export function flatKind(type: DescMessage, registry: Registry): Kind<unknown> | undefined {
  if (!FLAT.has(type.typeName)) return undefined;
  const json = (message: Message): Json => toJson(type, message, { registry }) as Json;
  return kindOf<Message>({
    wire: WireType.LengthDelimited,
    read: (reader) => {
      const bytes = reader.raw();
      reader.count(weigh(type, bytes, registry));
      const message = fromBinary(type, bytes);
      // Whether the library keeps an unknown field depends on where a wrapper stands.
      return message.$unknown === undefined ? message : unusual();
    },
    parse: (value) => {
      // `ExactJson` says which numbers may be rounded, and a field with null is absent.
      if (value === null) unusual();
      if (Number.isInteger(value) && !Number.isSafeInteger(value)) unusual();
      return fromJson(type, value as JsonValue, { registry, ignoreUnknownFields: false });
    },
    isZero: () => false,
    write: (writer, message) => writer.bytes(toBinary(type, message)),
    json,
    hidden: (message) => [...hiddenOf(type, message, registry)],
  }) as Kind<unknown>;
}
