/**
 * The digest that a rule pins of its method: all that changes what messages mean on the wire, as
 * JSON, and to labels.
 */

import type { DescEnum, DescField, DescMessage, DescMethod } from '@bufbuild/protobuf';
import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex } from '@noble/hashes/utils.js';
import { canonicalJson } from '../json.ts';
import type { Sha256 } from '../policy.ts';
import { methodIdOf, registryOf } from './descriptors.ts';
import { ANY_TYPE, isWellKnown, planOf } from './handling.ts';

/**
 * Domain of the digest. It changes with what the digest is taken of, so that no earlier pin fits.
 */
const DOMAIN = 'enclaim/interface/v2\0';

/**
 * Digest of a method's messages and what they carry. Two methods of one digest read the same bytes
 * and the same JSON alike, write them alike, and label them alike. Comments, files, order and the
 * names of oneofs are not in it.
 * @throws PolicyError `handling` if options cannot be read
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { readDescriptors } from '@enclaim/policy-schema';
 * import { interfaceDigest, methodIdOf, servicesOf } from '@enclaim/policy-schema/admission';
 *
 * const descriptors = readDescriptors(await readFile('descriptors.binpb')); // by buf build
 * for (const method of servicesOf(descriptors).flatMap(({ methods }) => methods))
 *   console.log(methodIdOf(method), interfaceDigest(method)); // for a rule's `interface`
 * ```
 */
export function interfaceDigest(method: DescMethod): Sha256 {
  const messages = new Map<string, unknown>();
  const enums = new Map<string, unknown>();
  const queue = [method.input, method.output];
  for (const message of queue) {
    if (messages.has(message.typeName)) continue;
    messages.set(message.typeName, shapeOfMessage(message));
    for (const field of message.fields) {
      if (field.message) queue.push(field.message);
      if (field.enum) enums.set(field.enum.typeName, shapeOfEnum(field.enum));
    }
    // An Any may be any declared type, and is labelled as that type: so all of them are part of the
    // interface.
    if (message.typeName === ANY_TYPE) queue.push(...declaredBeside(message));
  }
  const value = {
    method: methodIdOf(method),
    kind: method.methodKind,
    input: method.input.typeName,
    output: method.output.typeName,
    messages: Object.fromEntries(messages),
    enums: Object.fromEntries(enums),
  };
  return `sha256:${bytesToHex(sha256(Uint8Array.from([...new TextEncoder().encode(DOMAIN), ...canonicalJson(value)])))}`;
}

/**
 * Every message of the same descriptors but those of protobuf itself, which say nothing of what
 * they carry.
 */
function* declaredBeside(message: DescMessage): Generator<DescMessage> {
  for (const type of registryOf(message) ?? []) if (type.kind === 'message' && !isWellKnown(type)) yield type;
}

function shapeOfMessage(message: DescMessage): unknown {
  const plans = [...planOf(message)].sort((a, b) => a.field.number - b.field.number);
  return {
    // With `messageSetWireFormat`, fields are written as groups of number and content.
    set: message.proto.options?.messageSetWireFormat ?? false,
    fields: plans.map(({ field, categories, bare }) => ({ ...shapeOfField(field), categories, bare: bare ?? null })),
    // Oneofs are told apart by their members. A name is on no wire, and could be that of "none".
    // layer: pin of oneofs
    oneofs: message.oneofs
      .map(({ fields }) => fields.map(({ number }) => number).sort((a, b) => a - b))
      .sort(([a = 0], [b = 0]) => a - b),
  };
}

function shapeOfField(field: DescField): object {
  return {
    number: field.number,
    name: field.name,
    // layer: pin of JSON names
    json: field.jsonName,
    kind: field.fieldKind,
    of: field.message?.typeName ?? field.enum?.typeName ?? field.scalar ?? null,
    members: field.fieldKind === 'list' ? field.listKind : field.fieldKind === 'map' ? field.mapKind : null,
    key: field.fieldKind === 'map' ? field.mapKey : null,
    presence: field.presence,
    packed: field.fieldKind === 'list' ? field.packed : false,
    delimited: 'delimitedEncoding' in field ? field.delimitedEncoding : false,
    utf8: field.utf8Validation,
    default: field.fieldKind === 'scalar' || field.fieldKind === 'enum' ? textOf(field.getDefaultValue()) : null,
  };
}

function shapeOfEnum({ open, values }: DescEnum): unknown {
  const named = new Map<number, string[]>();
  for (const { number, name } of values) named.set(number, [...(named.get(number) ?? []), name]);
  return {
    open,
    // The value of an absent field.
    first: values[0]?.number ?? 0,
    // If a number has several names, the first is written, and all are read.
    values: [...named]
      .sort(([a], [b]) => a - b)
      .map(([number, [written, ...read]]) => [number, written ?? '', read.sort()]),
  };
}

function textOf(value: unknown): string | null {
  if (value === undefined) return null;
  if (value instanceof Uint8Array) return bytesToHex(value);
  return Object.is(value, -0) ? '-0' : String(value);
}
