/**
 * A limit to the life of HTTP/2 streams: a request that never arrives whole starts no call, and a response that nobody takes
 * outlives one, so that no deadline of a call ends them.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, type ServerHttp2Stream } from 'node:http2';

const STARTED = 'http2.server.stream.start';
/** How often streams are looked at, in shares of their life. */
const LOOKS = 8;

/** Resets every stream of this process's servers that lives longer than `milliseconds`, until it is disposed of. */
export function limitStreams(milliseconds: number): Disposable {
  /** In the order in which they began. */
  const began = new Map<ServerHttp2Stream, number>();
  const onStart = (message: unknown): void => {
    const { stream } = message as { readonly stream: ServerHttp2Stream };
    began.set(stream, performance.now());
    stream.once('close', () => began.delete(stream));
  };
  const timer = setInterval(() => {
    const latest = performance.now() - milliseconds;
    for (const [stream, at] of began) {
      if (at > latest) return;
      stream.close(constants.NGHTTP2_CANCEL);
    }
  }, milliseconds / LOOKS);
  subscribe(STARTED, onStart);
  return {
    [Symbol.dispose]: () => {
      unsubscribe(STARTED, onStart);
      clearInterval(timer);
    },
  };
}
