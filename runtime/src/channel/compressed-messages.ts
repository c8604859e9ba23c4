/**
 * Messages that their callers compressed with gzip. Each is decompressed when it is asked for, and
 * only up to a limit.
 */

import { promisify } from 'node:util';
import { gunzip, gunzipSync } from 'node:zlib';
import { maxInflated } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';

/** A message's prefix in gRPC: compressed flag, u32 length. */
const PREFIX = 5;
const TOO_LARGE = 'ERR_BUFFER_TOO_LARGE';
const unfold = promisify(gunzip);

/**
 * The first byte of a message's prefix: 1 if the message is compressed. grpc-js returns a message
 * as a part of the buffer that it came in, right behind the prefix. It does not report the flag of
 * a call that declares no compression.
 *
 * @throws TypeError if the prefix is not there
 */
export function flagOf(message: Uint8Array): number {
  const { buffer, byteOffset, length } = message;
  const prefix = byteOffset < PREFIX ? undefined : new DataView(buffer, byteOffset - PREFIX, PREFIX);
  if (prefix?.getUint32(1) !== length) throw new TypeError('a message without its prefix');
  return prefix.getUint8(0);
}

/**
 * Messages of a call as they were before compression. They throw RefusalError `request`, `budget`.
 */
export function unfolded(next: () => Promise<Uint8Array | undefined>): () => Promise<Uint8Array | undefined> {
  return async () => {
    const message = await next();
    if (message === undefined || flagOf(message) === 0) return message;
    try {
      return await unfold(message, { maxOutputLength: maxInflated(message.length) });
    } catch (error) {
      throw refusalOf(error);
    }
  };
}

/**
 * Decompresses a short message at once.
 *
 * @throws RefusalError `request`, `budget`
 */
export function unfoldedNow(message: Uint8Array, most: number): Uint8Array {
  if (flagOf(message) === 0) return message;
  try {
    return gunzipSync(message, { maxOutputLength: most });
  } catch (error) {
    throw refusalOf(error);
  }
}

function refusalOf(error: unknown): RefusalError {
  return (error as NodeJS.ErrnoException).code === TOO_LARGE
    ? new RefusalError('budget', 'a compressed message is larger than it may be')
    : new RefusalError('request', 'a compressed message is not gzip');
}
