/**
 * Frames of the attested handshake on a connection. Client and server read with this, and no byte
 * that follows the frames.
 */

import {
  decodeFrame,
  encodeFrame,
  FRAME_PREFIX,
  frameLength,
  type HandshakeStep,
  type HandshakeStepInit,
  limitOf,
} from './handshake.ts';

/** The part of a connection that is used here; a socket of node:tls has it. */
export interface FrameSocket {
  readonly readableEnded: boolean;
  readonly destroyed: boolean;
  read(length: number): Uint8Array | null;
  write(bytes: Uint8Array, done: (error?: Error | null) => void): unknown;
  on(event: string, listener: (error: Error) => void): unknown;
  off(event: string, listener: (error: Error) => void): unknown;
}

/** Why a stream cannot go on. */
export type FrameFailure =
  | 'ended' // the connection ended, or failed, within the exchange
  | 'step'; // a frame of another kind than expected

/**
 * Reads and writes frames until it is disposed of. Bytes that the peer sent after them are still in
 * the socket then.
 */
export class FrameStream {
  readonly #socket: FrameSocket;
  readonly #fail: (why: FrameFailure, message: string, cause?: Error) => Error;
  #woken = Promise.withResolvers<void>();
  #error: Error | undefined;

  /** @param fail makes the error that is thrown */
  constructor(socket: FrameSocket, fail: (why: FrameFailure, message: string, cause?: Error) => Error) {
    this.#socket = socket;
    this.#fail = fail;
    // One listener for the whole exchange. Node would tell each new one at once of bytes that are
    // already there, and half a frame would keep this process busy for as long as the peer likes.
    socket.on('readable', this.#wake);
    socket.on('close', this.#wake);
    socket.on('error', this.#break);
  }

  [Symbol.dispose](): void {
    this.#socket.off('readable', this.#wake);
    this.#socket.off('close', this.#wake);
    this.#socket.off('error', this.#break);
  }

  /**
   * The next step, which must be of one of these kinds.
   * @throws DecodeError; the error that `fail` makes
   */
  async receive<C extends HandshakeStep['case']>(...cases: readonly C[]): Promise<Extract<HandshakeStep, { case: C }>> {
    const length = frameLength(await this.#read(FRAME_PREFIX), limitOf(cases));
    const step = decodeFrame(await this.#read(length));
    if (cases.some((name) => name === step.case)) return step as Extract<HandshakeStep, { case: C }>;
    throw this.#fail('step', `step ${step.case}, expected ${cases.join(' or ')}`);
  }

  /**
   * Writes a frame and waits until it has left, because HTTP/2 must not be put on a socket with a
   * write under way.
   */
  async send(step: HandshakeStepInit): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(encodeFrame(step), (error) => {
        if (error) reject(this.#fail('ended', error.message, error));
        else resolve();
      });
    });
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #read(length: number): Promise<Uint8Array> {
    for (;;) {
      this.#woken = Promise.withResolvers();
      if (this.#error !== undefined) throw this.#fail('ended', this.#error.message, this.#error);
      const chunk = this.#socket.read(length);
      if (chunk?.length === length) return chunk;
      if (chunk !== null || this.#socket.readableEnded || this.#socket.destroyed) {
        throw this.#fail('ended', 'the connection ended within the handshake');
      }
      await this.#woken.promise;
    }
  }

  readonly #wake = (): void => this.#woken.resolve();

  readonly #break = (error: Error): void => {
    this.#error = error;
    this.#wake();
  };
}
