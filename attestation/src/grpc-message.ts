/**
 * Messages of gRPC in the bytes of a stream (gRPC over HTTP/2, Length-Prefixed-Message): a flag, a
 * length, and so many bytes. Frames of HTTP/2 may cut them anywhere, and hold many.
 */

import { MAX_MESSAGE_BYTES, RequestError } from './grpc-request.ts';

/** Bytes of a message's prefix: compressed flag, u32 length. */
export const PREFIX_BYTES = 5;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const NOTHING = new Uint8Array();

/** A message as it came. */
export interface FramedMessage {
  readonly bytes: Uint8Array;
  readonly isCompressed: boolean;
}

/**
 * Cuts the bytes of one request into messages, each when it is asked for.
 *
 * **Bound**: it holds at most twice the bytes that came and were not taken, however they were cut.
 * A list of chunks would hold, for each byte that came alone, the whole read that it came in.
 */
export class MessageFrames {
  readonly #maxFlag: number;
  #held: Uint8Array = NOTHING;
  /** Bytes of `#held` that are still to be taken. */
  #from = 0;
  #to = 0;
  /** Whether `#held` was made here, so that bytes may be added at its end. */
  #isOwn = false;

  /** @param mayCompress whether the call names a compression */
  constructor(mayCompress: boolean) {
    this.#maxFlag = mayCompress ? 1 : 0;
  }

  /** Number of bytes that were not taken. */
  get size(): number {
    return this.#to - this.#from;
  }

  /** Adds bytes as they came. They may not change any more. */
  add(chunk: Uint8Array): void {
    if (this.size === 0) {
      this.#hold(chunk, chunk.length, false);
      return;
    }
    const size = this.size + chunk.length;
    if (!this.#isOwn || this.#to + chunk.length > this.#held.length) {
      const room = new Uint8Array(Math.max(size, Math.min(2 * size, this.#announced())));
      room.set(this.#held.subarray(this.#from, this.#to));
      this.#hold(room, this.size, true);
    }
    this.#held.set(chunk, this.#to);
    this.#to += chunk.length;
  }

  /**
   * Takes the next message; undefined until it is whole.
   *
   * @throws RequestError if its prefix is not one, as soon as that is there
   */
  take(): FramedMessage | undefined {
    if (this.size < PREFIX_BYTES) return undefined;
    // layer: flags of messages are looked at (off: 0)
    const flag = this.#held[this.#from] as number;
    if (flag > this.#maxFlag) throw new RequestError(INTERNAL, faultOf(flag));
    const end = this.#announced();
    // layer: length of a message
    if (end - PREFIX_BYTES > MAX_MESSAGE_BYTES) {
      const sizes = `${end - PREFIX_BYTES} bytes where ${MAX_MESSAGE_BYTES} are allowed`;
      throw new RequestError(RESOURCE_EXHAUSTED, `a message of ${sizes}`);
    }
    if (this.size < end) return undefined;
    const bytes = this.#held.subarray(this.#from + PREFIX_BYTES, this.#from + end);
    this.#from += end;
    // Without this, the chunk that the last message came in stays for as long as the call.
    if (this.size === 0) this.#hold(NOTHING, 0, false);
    return { bytes, isCompressed: flag === 1 };
  }

  /** Bytes of the next message with its prefix; 0 until that is there. */
  #announced(): number {
    if (this.size < PREFIX_BYTES) return 0;
    const { buffer, byteOffset } = this.#held;
    return PREFIX_BYTES + new DataView(buffer, byteOffset + this.#from).getUint32(1);
  }

  #hold(bytes: Uint8Array, size: number, isOwn: boolean): void {
    this.#held = bytes;
    this.#from = 0;
    this.#to = size;
    this.#isOwn = isOwn;
  }
}

function faultOf(flag: number): string {
  return flag === 1
    ? 'a message marked as compressed in a call that names no compression'
    : `a message's first byte is ${flag}, expected 0 or 1`;
}
