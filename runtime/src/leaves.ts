/** The leaves of a message as they leave: what is base64 in JSON is plain bytes on the wire. */

import { type DescField, type DescMessage, type Message, ScalarType } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Json } from './worker/protocol.ts';

const holders: WeakMap<DescMessage, boolean> = new WeakMap();
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * A message as detectors have to see it: its JSON, and each of its fields of bytes once more as text of its own, UTF-8 where it
 * is that, else a character for each byte. For a type that has no such fields, the JSON alone.
 * @param json the same message
 */
export function leavesOf(descriptor: DescMessage, message: Message, json: Json): Json {
  return holdsBytes(descriptor) ? [json, ...Array.from(bytesIn(reflect(descriptor, message, false)), textOf)] : json;
}

/** Whether bytes can be anywhere in messages of a type. Decided once for each. */
function holdsBytes(descriptor: DescMessage): boolean {
  let holds = holders.get(descriptor);
  if (holds === undefined) {
    holds = reachable(descriptor).some(({ fields }) => fields.some(isBytes));
    holders.set(descriptor, holds);
  }
  return holds;
}

function reachable(descriptor: DescMessage): DescMessage[] {
  const seen = new Set([descriptor]);
  // A set that grows is walked to its end.
  for (const { fields } of seen) {
    for (const { message } of fields) if (message !== undefined) seen.add(message);
  }
  return [...seen];
}

function isBytes(field: DescField): boolean {
  return 'scalar' in field && field.scalar === ScalarType.BYTES;
}

function* bytesIn(message: ReflectMessage): Generator<Uint8Array> {
  for (const field of message.fields) {
    if (!message.isSet(field) || !(isBytes(field) || (field.message && holdsBytes(field.message)))) continue;
    for (const value of valuesOf(message, field)) {
      if (value instanceof Uint8Array) yield value;
      else yield* bytesIn(value);
    }
  }
}

/** The values of a field of bytes or of messages. */
function valuesOf(message: ReflectMessage, field: DescField): Iterable<Uint8Array | ReflectMessage> {
  if (field.fieldKind === 'list') return message.get(field) as Iterable<Uint8Array | ReflectMessage>;
  if (field.fieldKind === 'map') return message.get(field).values() as Iterable<Uint8Array | ReflectMessage>;
  return [message.get(field) as Uint8Array | ReflectMessage];
}

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
  }
}
