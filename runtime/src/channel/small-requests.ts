/** Requests of health and reflection, which any client may send. Only the name in them is used. */

import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { RequestError } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';
import { REFUSALS, STATUS } from '../refusals.ts';
import type { GrpcCall } from './grpc-call.ts';

/** Bytes: more than any name of a service, a symbol or a file has. */
const MAX_REQUEST_BYTES = 4096;

/**
 * Decodes a request. Fields that its type does not have are dropped.
 *
 * @throws RequestError
 */
export function smallRequest<Desc extends DescMessage>(type: Desc, bytes: Uint8Array): MessageShape<Desc> {
  // layer: length of requests of health
  if (bytes.length > MAX_REQUEST_BYTES)
    throw new RequestError(STATUS.resourceExhausted, `a request is longer than ${MAX_REQUEST_BYTES} bytes`);
  return requestOf(type, bytes);
}

/**
 * Decodes a request whose length its caller has judged.
 *
 * @throws RequestError
 */
export function requestOf<Desc extends DescMessage>(type: Desc, bytes: Uint8Array): MessageShape<Desc> {
  try {
    return fromBinary(type, bytes, { readUnknownFields: false });
  } catch {
    throw new RequestError(STATUS.invalidArgument, `not a ${type.typeName}`);
  }
}

/** Serves a call of health or reflection; `answer` ends it, or throws what it ends in. */
export function serveSmall(call: GrpcCall, answer: () => Promise<void>): void {
  answer().catch((error: unknown) => call.end(endOf(error)));
}

function endOf(error: unknown): Pick<RequestError, 'status' | 'message'> {
  if (error instanceof RequestError) return { status: error.status, message: error.message };
  if (error instanceof RefusalError) return { status: REFUSALS[error.code][0], message: error.message };
  return { status: STATUS.internal, message: 'the call failed' };
}
