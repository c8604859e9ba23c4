/** Protobuf messages with one byte string for one value. */

import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { equalBytes } from './bytes.ts';
import { DecodeError } from './errors.ts';

/**
 * Decodes a message that is encoded as we encode it: fields in order, none unknown, none twice.
 * @param limit largest accepted length in bytes
 * @throws DecodeError `range` too long; `syntax` not protobuf; `canonical` another encoding of the
 * value
 */
export function decodeMessage<D extends DescMessage>(schema: D, bytes: Uint8Array, limit: number): MessageShape<D> {
  if (bytes.length > limit) throw new DecodeError('range', `${bytes.length} bytes where ${limit} are allowed`, limit);
  let message: MessageShape<D>;
  try {
    message = fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw new DecodeError('syntax', `not a ${schema.typeName}`, 0, { cause });
  }
  if (!equalBytes(toBinary(schema, message), bytes)) {
    throw new DecodeError('canonical', `${schema.typeName} is not in canonical form`, 0);
  }
  return message;
}
