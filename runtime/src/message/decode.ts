/** Messages of untrusted makers, read or refused. */

import {
  type BinaryReadOptions,
  type DescMessage,
  fromBinary,
  type Message,
  type Registry,
  toJson,
} from '@bufbuild/protobuf';
import { RefusalError } from '../errors.ts';
import type { Json } from '../worker/json-text.ts';
import { HeavyError, weigh } from './part-limit.ts';

/** The maker of the message: a caller, a handler or a subprocessor. */
export type Maker = 'request' | 'response' | 'peer';

/**
 * Reads or labels a message of an untrusted maker.
 *
 * @throws RefusalError `code`, also for fields without a category
 */
export function reading<T>(code: Maker, { typeName }: DescMessage, read: () => T): T {
  const what = code === 'peer' ? 'answer' : code;
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof HeavyError ? `has ${cause.message}` : `is not a ${typeName}`;
    throw new RefusalError(code, `the ${what} ${why}`, { cause });
  }
}

/**
 * The message in untrusted bytes, weighed before anything is made of them.
 *
 * @param registry types that it may hold in an `Any`
 * @throws RefusalError `code`
 */
export function decoded(
  code: Maker,
  descriptor: DescMessage,
  bytes: Uint8Array,
  registry: Registry,
  options: Partial<BinaryReadOptions> = {},
): Message {
  return reading(code, descriptor, () => {
    weigh(descriptor, bytes, registry);
    return fromBinary(descriptor, bytes, options);
  });
}

/**
 * An untrusted message as proto3 JSON, which handlers see. Not every message has such a form: a
 * time out of range, a `Value` that is no number, an `Any` of an undeclared type, a path of a
 * `FieldMask` that does not survive the conversion.
 *
 * @throws RefusalError `code`
 */
export function jsonOf(code: Maker, descriptor: DescMessage, message: Message, registry: Registry): Json {
  try {
    return toJson(descriptor, message, { registry }) as Json;
  } catch (cause) {
    const what = code === 'peer' ? 'answer' : code;
    throw new RefusalError(code, `the ${what} has no JSON form as a ${descriptor.typeName}`, { cause });
  }
}
