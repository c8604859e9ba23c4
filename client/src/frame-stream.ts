/** Frames of the attested handshake on a TLS socket, and not one byte of what follows them. */

import type { TLSSocket } from 'node:tls';
import {
  decodeFrame,
  encodeFrame,
  FRAME_PREFIX,
  frameLength,
  type HandshakeStep,
  type HandshakeStepInit,
} from '@enclaim/attestation/handshake';
import { ChannelError } from './errors.ts';

/** Reads and writes frames until it is disposed of; what the other end sent after is still in the socket then. */
export class FrameStream {
  readonly #socket: TLSSocket;
  #woken = Promise.withResolvers<void>();
  #error: Error | undefined;

  constructor(socket: TLSSocket) {
    this.#socket = socket;
    // One listener for the whole exchange: each new one is told of the bytes that are already there, and would spin on
    // a frame that is sent half.
    socket.on('readable', this.#wake).on('close', this.#wake).on('error', this.#fail);
  }

  [Symbol.dispose](): void {
    this.#socket.off('readable', this.#wake).off('close', this.#wake).off('error', this.#fail);
  }

  /** The next step, which must be of the kind expected. @throws ChannelError, DecodeError */
  async receive<C extends HandshakeStep['case']>(expected: C): Promise<Extract<HandshakeStep, { case: C }>> {
    const length = frameLength(await this.#read(FRAME_PREFIX));
    const step = decodeFrame(await this.#read(length));
    if (step.case === 'refused') throw new ChannelError('protocol', `the server refused: ${step.value.reason}`);
    if (step.case !== expected) throw new ChannelError('protocol', `step ${step.case}, expected ${expected}`);
    return step as Extract<HandshakeStep, { case: C }>;
  }

  /** Writes a frame and waits until it has left: HTTP/2 must not be put on a socket with a write under way. */
  async send(step: HandshakeStepInit): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(encodeFrame(step), (error) => {
        if (error) reject(unreachable(error));
        else resolve();
      });
    });
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #read(length: number): Promise<Uint8Array> {
    for (;;) {
      this.#woken = Promise.withResolvers();
      if (this.#error !== undefined) throw unreachable(this.#error);
      const chunk = this.#socket.read(length) as Buffer | null;
      if (chunk?.length === length) return chunk;
      if (chunk !== null || this.#socket.readableEnded || this.#socket.destroyed) {
        throw new ChannelError('protocol', 'the connection ended within the handshake');
      }
      await this.#woken.promise;
    }
  }

  readonly #wake = (): void => this.#woken.resolve();

  readonly #fail = (error: Error): void => {
    this.#error = error;
    this.#wake();
  };
}

function unreachable(cause: Error): ChannelError {
  return new ChannelError('unreachable', cause.message, { cause });
}
