/**
 * A cursor over the bytes of one message in protobuf's wire format, and what was found on its way.
 * It reads what usual encoders write, and leaves all else to the reference.
 *
 * Specified in protobuf's "Encoding" (https://protobuf.dev/programming-guides/encoding/).
 */

import { WireType } from '@bufbuild/protobuf/wire';
import { MAX_PARTS } from '../part-limit.ts';
import type { FoundTexts } from './found-texts.ts';
import { unusual } from './unusual.ts';

/** Bytes of a string that is cut out of the message as a whole instead of decoded by itself. */
const SHORT_BYTES = 48;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Whether a byte is a character of its own that stands in JSON as it is. */
const PLAIN: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte < 0x7f && byte !== QUOTE && byte !== BACKSLASH ? 1 : 0,
);

/** Reads one message. */
export class WireReader {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly texts: FoundTexts | undefined;
  /** Whether fields may come in any order; else they come by number. */
  readonly anyOrder: boolean;
  /** Whether it left the message because a field came before one of a smaller number. */
  disordered = false;
  pos = 0;
  /** Upper half of the last {@link varint}. */
  high = 0;
  /** Wire type of the last {@link tag}. */
  wireType: WireType = WireType.Varint;
  /** Parts so far, as `weigh` counts them. */
  parts = 0;
  /** The message's label so far. */
  label = 0;
  /** Each byte as a character. */
  #characters: string | undefined;
  #hasCut = false;

  constructor(bytes: Buffer, texts: FoundTexts | undefined, anyOrder: boolean) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.texts = texts;
    this.anyOrder = anyOrder;
  }

  /** Counts parts of the message. */
  count(parts: number): void {
    this.parts += parts;
    if (this.parts > MAX_PARTS) unusual();
  }

  /** Reads a tag, counts it, and returns the field's number. */
  tag(): number {
    this.count(1);
    let tag = this.#byte();
    if (tag >= 0x80) {
      let shift = 0;
      let byte = tag;
      tag &= 0x7f;
      // A tag of five bytes may say more than 32 bits.
      while (byte >= 0x80) {
        shift += 7;
        if (shift > 21) unusual();
        byte = this.#byte();
        tag |= (byte & 0x7f) << shift;
      }
    }
    this.wireType = tag & 7;
    return tag >>> 3;
  }

  /** Whether a further value of the same field follows; reads its tag if so. */
  continues(number: number, end: number): boolean {
    if (this.pos >= end) return false;
    const { pos, parts } = this;
    if (this.tag() === number) return true;
    this.pos = pos;
    this.parts = parts;
    return false;
  }

  /** Reads a varint of up to ten bytes; returns its lower 32 bits as an unsigned number. */
  varint(): number {
    const first = this.#byte();
    this.high = 0;
    if (first < 0x80) return first;
    let low = first & 0x7f;
    for (let shift = 7; shift < 28; shift += 7) {
      const byte = this.#byte();
      low |= (byte & 0x7f) << shift;
      if (byte < 0x80) return low >>> 0;
    }
    const middle = this.#byte();
    low |= (middle & 0x0f) << 28;
    let high = (middle & 0x70) >> 4;
    if (middle >= 0x80) {
      let shift = 3;
      for (let byte = 0x80; byte >= 0x80; shift += 7) {
        if (shift > 31) unusual();
        byte = this.#byte();
        high |= (byte & 0x7f) << shift;
      }
    }
    this.high = high;
    return low >>> 0;
  }

  /** Reads a length and returns where that many bytes end. */
  span(): number {
    const length = this.varint();
    const end = this.pos + length;
    if (this.high !== 0 || end > this.bytes.length) unusual();
    return end;
  }

  /** Moves behind a value of known length, and returns where it began. */
  skip(length: number): number {
    const start = this.pos;
    this.pos += length;
    if (this.pos > this.bytes.length) unusual();
    return start;
  }

  /** Reads bytes as they are; they stay those of the message. */
  raw(): Uint8Array {
    const end = this.span();
    const value = this.bytes.subarray(this.pos, end);
    this.pos = end;
    return value;
  }

  /** Reads a text. */
  string(): string {
    const end = this.span();
    const start = this.pos;
    this.pos = end;
    if (this.#isPlain(start, end)) return this.#cut(start, end);
    const text = this.bytes.toString('utf8', start, end);
    // Either it says so itself or it is no UTF-8.
    if (text.includes('\ufffd')) unusual();
    return text;
  }

  /** Reads a text as its JSON. */
  quoted(): string {
    const end = this.span();
    const start = this.pos;
    if (!this.#isPlain(start, end)) {
      this.pos = end;
      const text = this.bytes.toString('utf8', start, end);
      if (text.includes('\ufffd')) unusual();
      return JSON.stringify(text);
    }
    this.pos = end;
    return `"${this.#cut(start, end)}"`;
  }

  /** Whether some bytes are few, and characters that JSON has as they are. */
  #isPlain(start: number, end: number): boolean {
    if (end - start > SHORT_BYTES) return false;
    for (let i = start; i < end; i++) if (PLAIN[this.bytes[i] ?? 0] === 0) return false;
    return true;
  }

  /**
   * **Cost**: a piece of one text is a few nanoseconds, decoding one seventy. Of a message with one
   * text, no more is decoded.
   */
  #cut(start: number, end: number): string {
    if (!this.#hasCut) {
      this.#hasCut = true;
      return this.bytes.toString('latin1', start, end);
    }
    this.#characters ??= this.bytes.toString('latin1');
    return this.#characters.slice(start, end);
  }

  #byte(): number {
    return this.bytes[this.pos++] ?? unusual();
  }
}
