/** The messages of a call's request as grpc-js hands them over, pulled one by one. */

import type { Readable } from 'node:stream';
import { RefusalError } from '../errors.ts';

/** The reading half of a call, which may be the half of a stream that still writes. */
export type RequestHalf = Pick<Readable, 'read' | 'on' | 'readableEnded' | 'destroyed'>;

/**
 * Pulls messages out of a call. No more are read from the connection than the handler asks for, and
 * a few ahead.
 *
 * Node's own iterator is no choice: at the end of the request, and at an error that ends only the
 * response, it would destroy the whole stream with all that is to be sent back.
 *
 * @returns the next message, undefined after the last. One may be asked for when the one before is
 * there. Throws RefusalError `worker` once the caller has gone, because that is no end of a stream.
 */
export function requestMessages(half: RequestHalf): () => Promise<Buffer | undefined> {
  let turned: (() => void) | undefined;
  const turn = (): void => {
    turned?.();
    turned = undefined;
  };
  let listening = false;
  const listen = (): void => {
    listening = true;
    for (const event of ['readable', 'end', 'close']) half.on(event, turn);
  };
  return async () => {
    if (!listening) listen();
    for (;;) {
      if (half.readableEnded) return undefined;
      if (half.destroyed) throw new RefusalError('worker', 'the caller has gone');
      const message: Buffer | null = half.read();
      if (message !== null) return message;
      await new Promise<void>((resolve) => {
        turned = resolve;
      });
    }
  };
}
