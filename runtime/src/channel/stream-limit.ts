/**
 * A limit to the life of HTTP/2 streams.
 *
 * **Bound**: a request that never arrives whole starts no call, and a response that its client does
 * not take outlives its call, so no deadline of a call ends such streams. A health watch that has
 * begun to be answered stays: it waits for changes to come, and health limits the number of
 * watches.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';

const STARTED = 'http2.server.stream.start';
/** Checks of a stream during its life. */
const LOOKS = 8;
const WATCH = '/grpc.health.v1.Health/Watch';

/**
 * Resets every stream of this process's servers that lives longer than `milliseconds`, until
 * disposal.
 */
export function limitStreams(milliseconds: number): Disposable {
  /** Streams in the order in which they began. */
  const began = new Map<ServerHttp2Stream, number>();
  const watches = new WeakSet<ServerHttp2Stream>();
  const onStart = (message: unknown): void => {
    const { stream, headers } = message as {
      readonly stream: ServerHttp2Stream;
      readonly headers: IncomingHttpHeaders;
    };
    if (headers[':path'] === WATCH) watches.add(stream);
    began.set(stream, performance.now());
    stream.once('close', () => began.delete(stream));
  };
  const timer = setInterval(() => {
    const latest = performance.now() - milliseconds;
    for (const [stream, at] of began) {
      if (at > latest) return;
      if (watches.has(stream) && stream.headersSent) began.delete(stream);
      else stream.close(constants.NGHTTP2_CANCEL);
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
