/** The answer to a call: messages, then a status in trailers; or the status alone. */

import type { OutgoingHttpHeaders, ServerHttp2Stream, ServerStreamResponseOptions } from 'node:http2';
import { PREFIX_BYTES } from '@enclaim/attestation/grpc-message';
import { ACCEPTED_ENCODINGS } from '@enclaim/attestation/grpc-request';
import type { CallSignal } from '../call-signal.ts';

/** Bytes of a response stream that its caller may not have taken yet while more are made. */
const MAX_UNTAKEN_BYTES = 64 * 1024;
const STATUS_ALONE = {
  ':status': 200,
  'content-type': 'application/grpc+proto',
  'grpc-accept-encoding': ACCEPTED_ENCODINGS,
} as const;
/**
 * Headers of every answer with messages, names and values in turn.
 *
 * **Cost**: Node would copy an object of them for each answer. A date would be written anew each
 * second, and HTTP/2 could compress it no better than that.
 */
const WITH_MESSAGES = Object.entries({ ...STATUS_ALONE, 'grpc-encoding': 'identity' })
  .flat()
  .map(String);
const RESPOND: ServerStreamResponseOptions & { readonly sendDate: false } = { waitForTrailers: true, sendDate: false };

/** One answer. */
export class ResponseMessages {
  readonly #stream: ServerHttp2Stream;
  #untakenBytes = 0;

  constructor(stream: ServerHttp2Stream) {
    this.#stream = stream;
  }

  /**
   * Sends a message. Resolves once the caller has taken nearly all before it: HTTP/2 would hold
   * messages without end. A message counts as taken once HTTP/2 had room for it.
   */
  async send(message: Uint8Array, signal?: CallSignal): Promise<void> {
    this.#begin();
    const taken = Promise.withResolvers<void>();
    taken.promise.catch(() => {}); // the caller may have left too late for this message to matter
    this.#untakenBytes += message.length;
    const goesOn = this.#stream.write(framed(message), (error) => {
      this.#untakenBytes -= message.length;
      if (error) taken.reject(error);
      else taken.resolve();
    });
    if (goesOn && this.#untakenBytes <= MAX_UNTAKEN_BYTES) return;
    const leave = (): void => taken.reject(signal?.reason);
    signal?.addEventListener('abort', leave, { once: true });
    await taken.promise.finally(() => signal?.removeEventListener('abort', leave));
  }

  /**
   * Ends the answer, with a last message if there is one.
   *
   * @param ended is called once the caller has taken all but the trailers, which leave in the next
   *   turn
   */
  end(trailers: OutgoingHttpHeaders, response: Uint8Array | undefined, ended: () => void): void {
    const stream = this.#stream;
    if (response === undefined && !stream.headersSent) {
      this.endAlone({ ...STATUS_ALONE, ...trailers });
      ended();
      return;
    }
    this.#begin();
    stream.on('wantTrailers', () => {
      stream.sendTrailers(trailers);
      ended();
    });
    if (response === undefined) stream.end();
    else stream.end(framed(response));
  }

  /** Answers with headers alone. */
  endAlone(headers: OutgoingHttpHeaders): void {
    this.#stream.respond(headers, { endStream: true });
  }

  #begin(): void {
    if (!this.#stream.headersSent) this.#stream.respond(WITH_MESSAGES, RESPOND);
  }
}

/** A message behind its prefix: it leaves in one piece, and is never compressed. */
function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  frame.writeUInt8(0);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, PREFIX_BYTES);
  return frame;
}
