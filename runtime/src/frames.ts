/** Frames of text on a byte stream between processes: `u32 length ‖ UTF-8`. */

import { concat, fromUtf8, join } from '@enclaim/attestation/bytes';

/** Bytes of the length in front of a frame's text. */
export const FRAME_PREFIX_BYTES = 4;
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
  return joinFrames([measured([text], limit)]);
}

/** A text that fits into a frame, in pieces. */
export interface FrameText {
  readonly pieces: readonly string[];
  /** Bytes of all pieces. */
  readonly length: number;
}

/**
 * A text with its length.
 *
 * **Cost**: large pieces are not put together before they are written.
 *
 * @throws RangeError over `limit` bytes
 */
export function measured(pieces: readonly string[], limit: number): FrameText {
  let length = 0;
  for (const piece of pieces) length += Buffer.byteLength(piece);
  if (length > limit) throw new RangeError(`a frame of ${length} bytes, at most ${limit}`);
  return { pieces, length };
}

/** Texts as frames, one behind the other, and `zeros` zero bytes behind the last. */
export function joinFrames(texts: readonly FrameText[], zeros = 0): Uint8Array {
  let length = zeros;
  for (const each of texts) length += FRAME_PREFIX_BYTES + each.length;
  const frames = Buffer.allocUnsafe(length);
  let at = 0;
  for (const each of texts) {
    at = frames.writeUInt32BE(each.length, at);
    for (const piece of each.pieces) at += frames.write(piece, at);
  }
  frames.fill(0, at);
  return frames;
}

/**
 * Cuts a byte stream into frames. Holds at most one frame and one chunk, however small the pieces
 * are.
 */
export class FrameReader {
  readonly #limit: number;
  #chunks: Uint8Array[] = [];
  #held = 0;
  #wanted: number = FRAME_PREFIX_BYTES;
  #inBody = false;

  /** @param limit largest frame in bytes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * The texts of the frames that a chunk completes. A reader whose texts were not all taken is of
   * no further use.
   *
   * @throws RangeError for a frame over the limit; DecodeError for bytes that are not UTF-8
   */
  *push(chunk: Uint8Array): Generator<string> {
    this.#hold(chunk);
    if (this.#held < this.#wanted) return;
    const bytes = this.#chunks.length === 1 ? (this.#chunks[0] ?? chunk) : join(this.#chunks);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    let at = 0;
    while (bytes.length - at >= this.#wanted) {
      const from = at;
      at += this.#wanted;
      if (this.#inBody) {
        this.#inBody = false;
        this.#wanted = FRAME_PREFIX_BYTES;
        yield/* layer: frames are text (off: bytes) */ fromUtf8(bytes.subarray(from, at));
      } else {
        this.#wanted = view.getUint32(from);
        if (
          /* layer: frames of no bytes */ this.#wanted === 0 ||
          /* layer: frames of too many bytes */ this.#wanted > this.#limit
        )
          throw new RangeError(`a frame of ${this.#wanted} bytes`);
        this.#inBody = true;
      }
    }
    this.#chunks = [bytes.subarray(at)];
    this.#held = bytes.length - at;
  }

  #hold(chunk: Uint8Array): void {
    this.#held += chunk.length;
    const last = this.#chunks.at(-1);
    if (last === undefined || last.length + chunk.length > PIECE) this.#chunks.push(chunk);
    else this.#chunks[this.#chunks.length - 1] = concat(last, chunk);
  }
}
