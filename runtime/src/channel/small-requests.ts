/** Requests of health and reflection, which any client may send. Only the name in them is used. */

import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { unfoldedNow } from './compressed-messages.ts';

/** Bytes: more than any name of a service, a symbol or a file has. */
const MAX_REQUEST_BYTES = 4096;

/** Refusal of a small request. */
export class RequestError extends Error {
  readonly code: status.RESOURCE_EXHAUSTED | status.INVALID_ARGUMENT;

  constructor(code: RequestError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Decodes a request. Fields that its type does not have are dropped.
 *
 * @throws {RequestError}
 */
export function smallRequest<Desc extends DescMessage>(type: Desc, bytes: Uint8Array): MessageShape<Desc> {
  if (bytes.length > MAX_REQUEST_BYTES)
    throw new RequestError(status.RESOURCE_EXHAUSTED, `a request is longer than ${MAX_REQUEST_BYTES} bytes`);
  try {
    return fromBinary(type, unfoldedNow(bytes, MAX_REQUEST_BYTES), { readUnknownFields: false });
  } catch {
    throw new RequestError(status.INVALID_ARGUMENT, `not a ${type.typeName}`);
  }
}
