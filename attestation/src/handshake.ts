/**
 * The exchange between the TLS handshake and HTTP/2 on an `enclaim-h2` connection
 * (docs/reference/formats.md, "Handshake").
 */

import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { concat, Reader, u32be } from './bytes.ts';
import { DecodeError } from './errors.ts';
import { type Handshake, HandshakeSchema } from './gen/enclaim/v1/evidence_pb.js';
import { decodeMessage } from './message.ts';

/** The protocol's name in ALPN. */
export const ALPN = 'enclaim-h2';
/** Version that both hellos must carry. */
export const HANDSHAKE_VERSION = 1;
/**
 * Largest accepted frame in bytes. A policy may be 256 KiB; certificates and logs stay well below
 * the rest.
 */
export const MAX_FRAME_BYTES: number = 1024 * 1024;
/** Length in bytes of the prefix that holds a frame's length. */
export const FRAME_PREFIX = 4;

/** One step of the exchange. */
export type HandshakeStep = Exclude<Handshake['step'], { case: undefined }>;

/** One step to be sent: messages may be given as plain objects. */
export type HandshakeStepInit = NonNullable<MessageInitShape<typeof HandshakeSchema>['step']>;

/** A frame: u32 length, message. */
export function encodeFrame(step: HandshakeStepInit): Uint8Array {
  const message = toBinary(HandshakeSchema, create(HandshakeSchema, { step }));
  return concat(u32be(message.length), message);
}

/**
 * Largest frame of a step in bytes. Only evidence is larger.
 *
 * **Bound**: a client or server that waits for another step holds no more than this.
 */
const MAX_STEP_BYTES = 4096;

/** Largest frame in bytes while one of these steps is expected. */
export function limitOf(expected: readonly HandshakeStep['case'][]): number {
  return expected.includes('evidence') ? MAX_FRAME_BYTES : MAX_STEP_BYTES;
}

/**
 * Length of the message behind a prefix of 4 bytes.
 * @throws DecodeError `range` over `limit` or zero
 */
export function frameLength(prefix: Uint8Array, limit: number = MAX_FRAME_BYTES): number {
  const length = new Reader(prefix).u32be();
  if (length === 0 || length > limit) throw new DecodeError('range', `a handshake frame of ${length} bytes`, 0);
  return length;
}

/** The step in a frame's message. @throws DecodeError */
export function decodeFrame(message: Uint8Array): HandshakeStep {
  const { step }: Handshake = decodeMessage(HandshakeSchema, message, MAX_FRAME_BYTES);
  if (step.case === undefined) throw new DecodeError('syntax', 'a handshake frame without a step', 0);
  return step;
}
