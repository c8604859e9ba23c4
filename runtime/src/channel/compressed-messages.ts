/**
 * Messages that their callers compressed with gzip. Each is decompressed when it is asked for, and
 * only up to a limit.
 */

import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { maxInflated } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';

const TOO_LARGE = 'ERR_BUFFER_TOO_LARGE';
const unfold = promisify(gunzip);

/**
 * A message as it was before compression.
 *
 * @throws RefusalError `request`, `budget`
 */
export async function unfolded(message: Uint8Array): Promise<Uint8Array> {
  try {
    return await unfold(message, {
      /* layer: what a message may unfold to */ maxOutputLength: maxInflated(message.length),
    });
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === TOO_LARGE
      ? new RefusalError('budget', 'a compressed message is larger than it may be')
      : new RefusalError('request', 'a compressed message is not gzip');
  }
}
