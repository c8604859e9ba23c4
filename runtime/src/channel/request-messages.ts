/** The messages of a call's request, taken out of its stream one by one. */

import type { ServerHttp2Stream } from 'node:http2';
import { type FramedMessage, MessageFrames } from '@enclaim/attestation/grpc-message';
import { RequestError } from '@enclaim/attestation/grpc-request';
import { RefusalError } from '../errors.ts';
import { STATUS } from '../refusals.ts';
import { unfolded } from './compressed-messages.ts';

const CUT = new RequestError(STATUS.internal, 'the request ends within a message');
const NONE = new RequestError(STATUS.unimplemented, 'a request without a message, to a method that takes one');
const MANY = new RequestError(STATUS.unimplemented, 'a request of more messages than the one that its method takes');

/** One request. Nothing is read before its messages are asked for. */
export class RequestMessages {
  readonly #stream: ServerHttp2Stream;
  readonly #frames: MessageFrames;
  readonly #onFault: (fault: RequestError) => void;
  /** Serves a request of one message. */
  #serve: (() => void) | undefined;
  /** The message of such a request. */
  #only: FramedMessage | undefined;
  /** Waits for the next message of a stream. */
  #asked: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  #isListening = false;
  #isWhole = false;
  #isOver = false;

  /**
   * @param mayCompress whether the call names a compression
   * @param onFault is called at most once, if the request is not made as gRPC says; no message of
   *   it is given any more then
   */
  constructor(stream: ServerHttp2Stream, mayCompress: boolean, onFault: (fault: RequestError) => void) {
    this.#stream = stream;
    this.#frames = new MessageFrames(mayCompress);
    this.#onFault = onFault;
  }

  /** Whether the caller has sent its request to the end, and that was read. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** Calls `serve` once the one message of a request is there and the request has ended. */
  readOne(serve: () => void): void {
    this.#serve = serve;
    this.#listen();
  }

  /**
   * The next message, at once if it is there; undefined after the last. One may be asked for when
   * the one before is there: no more are read from the connection than that, and a few ahead.
   *
   * @throws RefusalError `request`, `budget` of a compressed message; `worker` once the call is
   *   over, because that is no end of a request
   */
  next(): Uint8Array | undefined | Promise<Uint8Array | undefined> {
    if (this.#isOver) return Promise.reject(gone());
    const only = this.#only;
    if (only !== undefined && !only.isCompressed) {
      this.#only = undefined;
      return only.bytes;
    }
    const asked = Promise.withResolvers<Uint8Array | undefined>();
    this.#asked = asked;
    this.#hand();
    if (this.#asked !== undefined) {
      if (this.#isListening) this.#stream.resume();
      else this.#listen();
    }
    return asked.promise;
  }

  /** Throws away the rest: the call is over. */
  stop(): void {
    this.#isOver = true;
    this.#asked?.reject(gone());
    this.#asked = undefined;
    this.#serve = undefined;
    this.#only = undefined;
  }

  #listen(): void {
    this.#isListening = true;
    this.#stream.on('data', (chunk: Buffer) => this.#take(chunk));
    // An empty request ends before it is read.
    if (this.#stream.readableEnded) this.#end();
    else this.#stream.on('end', () => this.#end());
  }

  #take(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#frames.add(chunk);
    if (this.#serve !== undefined) this.#takeOne();
    else if (this.#asked !== undefined) this.#hand();
    else this.#stream.pause();
  }

  #end(): void {
    // A stream that its caller resets without an error ends, too.
    if (this.#isOver || this.#stream.closed) return;
    this.#isWhole = true;
    if (this.#serve === undefined) this.#hand();
    else if (this.#only !== undefined) this.#serve();
    else this.#fail(this.#frames.size > 0 ? CUT : NONE);
  }

  /** Takes the one message of a request, and refuses any more as soon as they begin. */
  #takeOne(): void {
    try {
      this.#only ??= this.#frames.take();
      if (this.#only !== undefined && this.#frames.size > 0) throw MANY;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Hands over the next message, if it is asked for and there. */
  #hand(): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    try {
      const message = this.#only ?? this.#frames.take();
      if (message === undefined && !this.#isWhole) return;
      if (message === undefined && this.#frames.size > 0) throw CUT;
      this.#only = undefined;
      this.#asked = undefined;
      asked.resolve(message?.isCompressed ? unfolded(message.bytes) : message?.bytes);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (!(error instanceof RequestError)) throw error;
    this.stop();
    this.#onFault(error);
  }
}

function gone(): RefusalError {
  return new RefusalError('worker', 'the caller has gone');
}
