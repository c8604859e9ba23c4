/**
 * A limit to the life of HTTP/2 streams: a request that never arrives whole starts no call, and a response that nobody takes
 * outlives one, so that no deadline of a call ends them. A watch of health that has begun to be answered stays: it lives for what
 * is still to come, and health bounds how many there are.
 */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';

const STARTED = 'http2.server.stream.start';
/** How often streams are looked at, in shares of their life. */
const LOOKS = 8;
const WATCH = '/grpc.health.v1.Health/Watch';

/** Resets every stream of this process's servers that lives longer than `milliseconds`, until it is disposed of. */
export function limitStreams(milliseconds: number): Disposable {
  /** In the order in which they began. */
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
