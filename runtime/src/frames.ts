/** Frames of text on a byte stream between processes: `u32 length ‖ UTF-8`. */

import { concat, fromUtf8, Reader } from '@enclaim/attestation/bytes';

const PREFIX = 4;
/**
 * Neighbouring chunks that are smaller together are joined.
 *
 * **Cost**: each chunk costs hundreds of bytes beside its own.
 */
const PIECE = 4096;

/** A message as a frame of JSON. @throws RangeError over `limit` bytes */
export function encodeFrame(message: unknown, limit: number): Uint8Array {
  return encodeTextFrame(JSON.stringify(message), limit);
}

/** A text as a frame. @throws RangeError over `limit` bytes */
export function encodeTextFrame(text: string, limit: number): Uint8Array {
  const length = Buffer.byteLength(text);
  if (length > limit) throw new RangeError(`a frame of ${length} bytes, at most ${limit}`);
  const frame = Buffer.allocUnsafe(PREFIX + length);
  frame.writeUInt32BE(length);
  frame.write(text, PREFIX);
  return frame;
}

/**
 * Cuts a byte stream into frames. Holds at most one frame and one chunk, however small the pieces
 * are.
 */
export class FrameReader {
  readonly #limit: number;
  #chunks: Uint8Array[] = [];
  #held = 0;
  #wanted: number = PREFIX;
  #inBody = false;

  /** @param limit largest frame in bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * The texts of the frames that a chunk completes.
   *
   * @throws RangeError for a frame over the limit; DecodeError for bytes that are not UTF-8
   */
  *push(chunk: Uint8Array): Generator<string> {
    this.#hold(chunk);
    while (this.#held >= this.#wanted) {
      const joined = this.#chunks.length === 1 ? (this.#chunks[0] ?? chunk) : concat(...this.#chunks);
      const frame = joined.subarray(0, this.#wanted);
      const rest = joined.subarray(this.#wanted);
      this.#chunks = [rest];
      this.#held = rest.length;
      if (this.#inBody) {
        this.#inBody = false;
        this.#wanted = PREFIX;
        yield fromUtf8(frame);
      } else {
        this.#wanted = new Reader(frame).u32be();
        if (this.#wanted === 0 || this.#wanted > this.#limit) throw new RangeError(`a frame of ${this.#wanted} bytes`);
        this.#inBody = true;
      }
    }
  }

  #hold(chunk: Uint8Array): void {
    this.#held += chunk.length;
    const last = this.#chunks.at(-1);
    if (last === undefined || last.length + chunk.length > PIECE) this.#chunks.push(chunk);
    else this.#chunks[this.#chunks.length - 1] = concat(last, chunk);
  }
}
