/**
 * A limit to the life of HTTP/2 streams.
 *
 * **Bound**: a request that never arrives whole starts no call, and a response that its client does
 * not take outlives its call, so no deadline of a call ends such streams.
 */

import { constants, type ServerHttp2Stream } from 'node:http2';
import { LiveMap } from '../live-map.ts';

/** Checks of a stream during its life. */
const LOOKS = 8;

/** Resets every stream that lives longer than its limit, until disposal. */
export class StreamLimit implements Disposable {
  /** Streams in the order in which they began, with the number of looks before that. */
  readonly #began = new LiveMap<ServerHttp2Stream, number>();
  readonly #timer: NodeJS.Timeout;
  #looks = 0;

  constructor(milliseconds: number) {
    this.#timer = setInterval(() => {
      this.#looks++;
      for (const [stream, before] of this.#began) {
        if (this.#looks - before <= LOOKS) return;
        stream.close(constants.NGHTTP2_CANCEL);
      }
    }, milliseconds / LOOKS);
  }

  add(stream: ServerHttp2Stream): void {
    this.#began.set(stream, this.#looks);
  }

  /** Lets a stream go on as long as its client likes, or forgets one that has ended. */
  delete(stream: ServerHttp2Stream): void {
    this.#began.delete(stream);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
