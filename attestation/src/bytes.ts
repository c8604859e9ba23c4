/** Bytes: reading with bounds, joining, comparing, and the two texts they are written as. */

import { DecodeError } from './errors.ts';
import { readBase64, readHex, writeBase64, writeHex } from './radix.ts';

const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf8Encoder = new TextEncoder();

type Alphabet = 'base64' | 'base64url';

/** The methods of engines that write and read both texts by themselves, which is faster. */
interface NativeBytes {
  fromHex(text: string): Uint8Array;
  fromBase64(text: string, options: { alphabet: Alphabet; lastChunkHandling: 'strict' }): Uint8Array;
  readonly prototype: {
    toHex(this: Uint8Array): string;
    toBase64(this: Uint8Array, options?: { alphabet: Alphabet; omitPadding: true }): string;
  };
}

const NATIVE: NativeBytes | undefined =
  'fromHex' in Uint8Array && 'fromBase64' in Uint8Array ? (Uint8Array as unknown as NativeBytes) : undefined;

/**
 * A cursor over bytes that never reads past their end. Views are not copied: do not write to them.
 */
export class Reader {
  readonly bytes: Uint8Array;
  #madeView: DataView | undefined;
  #at = 0;
  /** Offset of `bytes[0]` in the outermost input, so that errors name the caller's offsets. */
  readonly #base: number;

  constructor(bytes: Uint8Array, base = 0) {
    this.bytes = bytes;
    this.#base = base;
  }

  /** Offset of the next byte in the outermost input. */
  get at(): number {
    return this.#base + this.#at;
  }

  /** Bytes left to read. */
  get left(): number {
    return this.bytes.length - this.#at;
  }

  /** The next `length` bytes as a view. @throws DecodeError `truncated` */
  take(length: number): Uint8Array {
    const from = this.#advance(length);
    return this.bytes.subarray(from, from + length);
  }

  /** A reader over the next `length` bytes. @throws DecodeError `truncated` */
  sub(length: number): Reader {
    const base = this.at;
    return new Reader(this.take(length), base);
  }

  skip(length: number): void {
    this.#advance(length);
  }

  u8(): number {
    return this.bytes[this.#advance(1)] ?? 0;
  }

  u16le(): number {
    return this.#view.getUint16(this.#advance(2), true);
  }

  u16be(): number {
    return this.#view.getUint16(this.#advance(2), false);
  }

  u32le(): number {
    return this.#view.getUint32(this.#advance(4), true);
  }

  u32be(): number {
    return this.#view.getUint32(this.#advance(4), false);
  }

  u64le(): bigint {
    return this.#view.getBigUint64(this.#advance(8), true);
  }

  u64be(): bigint {
    return this.#view.getBigUint64(this.#advance(8), false);
  }

  /** Reads `length` bytes that the format says are zero. @throws DecodeError `reserved` */
  zeros(length: number, name: string): void {
    const at = this.at;
    const bytes = this.take(length);
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== 0) throw new DecodeError('reserved', `${name} is not zero`, at + i);
    }
  }

  /** Ends the reading. @throws DecodeError `trailing` if bytes are left. */
  end(name: string): void {
    if (this.left > 0) throw new DecodeError('trailing', `${this.left} bytes after the end of ${name}`, this.at);
  }

  /** Made when a number is first asked for: most readers only take bytes. */
  get #view(): DataView {
    this.#madeView ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    return this.#madeView;
  }

  #advance(length: number): number {
    const from = this.#at;
    if (length < 0 || length > this.bytes.length - from) {
      throw new DecodeError('truncated', `${length} bytes wanted, ${this.left} left`, this.at);
    }
    this.#at = from + length;
    return from;
  }
}

/** The parts joined. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return join(parts);
}

/** The same of any number of parts: of arguments there may be some ten thousand. */
export function join(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Whether two byte strings are equal. Time depends on the lengths only. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] ?? 0) ^ (b[i] ?? 0);
  return difference === 0;
}

/** `value` as 4 bytes, big-endian. */
export function u32be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** `value` as 8 bytes, big-endian. */
export function u64be(value: number | bigint): Uint8Array {
  const out = new Uint8Array(8);
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) setU64be(out, 0, value);
  else new DataView(out.buffer).setBigUint64(0, BigInt(value), false);
  return out;
}

/** Writes a safe integer, not below zero, as 8 bytes, big-endian. */
export function setU64be(out: Uint8Array, at: number, value: number): void {
  let rest = value;
  for (let byte = 7; byte >= 0; byte--) {
    out[at + byte] = rest % 0x100;
    rest = Math.floor(rest / 0x100);
  }
}

/** Text as UTF-8. */
export function utf8(text: string): Uint8Array {
  return utf8Encoder.encode(text);
}

/** UTF-8 as text. @throws DecodeError `syntax` if the bytes are not UTF-8. */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return utf8Decoder.decode(bytes);
  } catch (cause) {
    throw new DecodeError('syntax', 'not UTF-8', 0, { cause });
  }
}

/** Lower-case hexadecimal. */
export function toHex(bytes: Uint8Array): string {
  return NATIVE?.prototype.toHex.call(bytes) ?? writeHex(bytes);
}

/** Bytes of a hexadecimal text of even length, either case. @throws DecodeError `syntax` */
export function fromHex(text: string): Uint8Array {
  try {
    return NATIVE?.fromHex(text) ?? readHex(text);
  } catch (cause) {
    throw new DecodeError('syntax', 'not hexadecimal', 0, { cause });
  }
}

/** Base64 (RFC 4648 section 4), padded. */
export function toBase64(bytes: Uint8Array): string {
  return NATIVE?.prototype.toBase64.call(bytes) ?? writeBase64(bytes);
}

/** Bytes of a strictly padded base64 text. @throws DecodeError `syntax` */
export function fromBase64(text: string): Uint8Array {
  return decodeBase64(text, 'base64');
}

/** Base64url (RFC 4648 section 5), without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  if (NATIVE) return NATIVE.prototype.toBase64.call(bytes, { alphabet: 'base64url', omitPadding: true });
  return writeBase64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Bytes of an unpadded base64url text. @throws DecodeError `syntax` */
export function fromBase64Url(text: string): Uint8Array {
  if (text.includes('=')) throw new DecodeError('syntax', 'padding in base64url', text.indexOf('='));
  return decodeBase64(text + '='.repeat((4 - (text.length % 4)) % 4), 'base64url');
}

function decodeBase64(text: string, alphabet: Alphabet): Uint8Array {
  // The decoder skips white space. Digests need one text for one value.
  if (/\s/.test(text)) throw new DecodeError('syntax', `white space in ${alphabet}`, text.search(/\s/));
  try {
    return NATIVE?.fromBase64(text, { alphabet, lastChunkHandling: 'strict' }) ?? readBase64(text, alphabet);
  } catch (cause) {
    throw new DecodeError('syntax', `not ${alphabet}`, 0, { cause });
  }
}
