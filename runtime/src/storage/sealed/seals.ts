/**
 * Seals of stored state (docs/reference/formats.md, "Sealed state"): AES-256-GCM under the keys of
 * an epoch, and under a key of its own for each value.
 */

import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { RefusalError } from '../../errors.ts';

export const KEY_BYTES = 32;
export const TAG_BYTES = 16;
const NONCE_BYTES = 12;
/** The nonce of keys that seal once. */
const NO_NONCE = Buffer.alloc(NONCE_BYTES);
const LENGTH_BYTES = 4;
/** Steps to which lengths of values are padded: 64 bytes, and an 8th of longer ones. */
const MIN_STEP_BYTES = 64;
const STEP_SHARE = 8;

/** One key, under which each number seals once. */
export class Seal {
  readonly #key: Uint8Array;
  readonly #name: Buffer;

  /** @param system whose state it is: nothing of another opens */
  constructor(key: Uint8Array, system: string) {
    this.#key = key;
    this.#name = prefixed(system);
  }

  /**
   * Sealed bytes, with the tag behind them.
   *
   * @param number never used before under this key
   * @param before bytes of zeros that stand before them, for the caller to fill
   */
  seal(number: number, associated: Uint8Array, plain: Uint8Array, before = 0): Buffer {
    const out = Buffer.alloc(before + plain.length + TAG_BYTES);
    this.sealInto(number, associated, plain, out.subarray(before));
    return out;
  }

  /** The same into bytes that are there: as many as are sealed, and the tag. */
  sealInto(number: number, associated: Uint8Array, plain: Uint8Array, out: Buffer): void {
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonceOf(number));
    cipher.setAAD(Buffer.concat([this.#name, associated]));
    if (plain.length > 0) {
      const sealed = cipher.update(plain);
      out.set(sealed);
      release(sealed);
    }
    cipher.final();
    out.set(cipher.getAuthTag(), plain.length);
  }

  /**
   * The bytes that were sealed. Where they were changed, what came out is overwritten: a host that
   * changes one byte of a chunk leaves the rest of it, with the keys of values, as it was.
   *
   * @throws RefusalError `state` for any other bytes than those that were sealed
   */
  open(number: number, associated: Uint8Array, sealed: Uint8Array): Buffer {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) throw new RefusalError('state', `${sealed.length} sealed bytes`);
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonceOf(number), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.concat([this.#name, associated]));
    decipher.setAuthTag(sealed.subarray(end));
    const plain = decipher.update(sealed.subarray(0, end));
    try {
      decipher.final();
    } catch (cause) {
      plain.fill(0);
      throw new RefusalError('state', 'bytes on the disk are not the ones that were sealed', { cause });
    }
    return plain;
  }

  /** Wipes the key. */
  wipe(): void {
    this.#key.fill(0);
  }
}

/** Bytes from which on memory is given back at once. */
const RELEASED_BYTES = 64 * 1024;

/**
 * Gives the memory of bytes back, which nothing uses any more: they have none then.
 *
 * **Cost**: a cipher gives a buffer outside the heap for each chunk of an index. Left to the
 * collector, those of an index that is read and written have it go through the whole heap.
 *
 * @param bytes that a cipher gave
 */
export function release({ buffer, length }: Buffer): void {
  // Small buffers share their memory.
  if (length >= RELEASED_BYTES && length === buffer.byteLength && buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** The seals of one epoch. */
export interface EpochSeals {
  readonly frames: Seal;
  readonly index: Seal;
  readonly head: Seal;
  readonly blocks: Seal;
}

/** The seals that follow from an epoch's key. */
export function epochSeals(key: Uint8Array, system: string): EpochSeals {
  const derived = (name: string): Seal =>
    new Seal(new Uint8Array(hkdfSync('sha256', key, '', `enclaim/state/${name}/v1\0`, KEY_BYTES)), system);
  return { frames: derived('frames'), index: derived('index'), head: derived('head'), blocks: derived('blocks') };
}

/** Wipes the keys of an epoch. */
export function wipeSeals(seals: EpochSeals): void {
  for (const seal of Object.values(seals)) seal.wipe();
}

/** The place that a value is sealed to. */
export interface ValueName {
  /** {@link valueScope} of system and collection. */
  readonly scope: Uint8Array;
  readonly key: string;
  readonly version: string;
}

/** The part of a value's name that all values of a collection share. */
export function valueScope(system: string, collection: string): Uint8Array {
  return Buffer.concat([prefixed(system), prefixed(collection)]);
}

/** Bytes of a sealed value, which tell its length only up to a step. */
export function sealedBytes(length: number): number {
  return padded(LENGTH_BYTES + length) + TAG_BYTES;
}

/**
 * Seals a value under a key that seals nothing else.
 *
 * @param out where its {@link sealedBytes} go, from `at` on
 */
export function sealValue(key: Uint8Array, name: ValueName, value: Uint8Array, out: Buffer, at: number): void {
  const end = at + padded(LENGTH_BYTES + value.length);
  out.fill(0, out.writeUInt32BE(value.length, at) + value.length, end);
  out.set(value, at + LENGTH_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, NO_NONCE);
  cipher.setAAD(associatedOf(name));
  out.set(cipher.update(out.subarray(at, end)), at);
  cipher.final();
  out.set(cipher.getAuthTag(), end);
}

/** The value of sealed bytes. @throws RefusalError `state` */
export function openValue(key: Uint8Array, name: ValueName, sealed: Uint8Array): Buffer {
  const end = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-256-gcm', key, NO_NONCE, { authTagLength: TAG_BYTES });
  decipher.setAAD(associatedOf(name));
  decipher.setAuthTag(sealed.subarray(end));
  const plain = decipher.update(sealed.subarray(0, end));
  try {
    decipher.final();
  } catch (cause) {
    plain.fill(0);
    throw new RefusalError('state', 'bytes on the disk are not the ones that were sealed', { cause });
  }
  const length = plain.readUInt32BE();
  if (length > plain.length - LENGTH_BYTES) throw new RefusalError('state', `a value of ${length} bytes`);
  return plain.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
}

function padded(length: number): number {
  const step = Math.max(MIN_STEP_BYTES, 2 ** Math.floor(Math.log2(length)) / STEP_SHARE);
  return Math.ceil(length / step) * step;
}

function associatedOf({ scope, key, version }: ValueName): Buffer {
  const text = `${JSON.stringify(key)} ${version}`;
  const out = Buffer.allocUnsafe(scope.length + 3 * text.length);
  out.set(scope);
  return out.subarray(0, scope.length + out.write(text, scope.length));
}

/** A text with its length before it. */
function prefixed(text: string): Buffer {
  const bytes = Buffer.from(text);
  const out = Buffer.alloc(2 + bytes.length);
  out.writeUInt16BE(bytes.length);
  out.set(bytes, 2);
  return out;
}

function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  nonce.writeBigUInt64BE(BigInt(number), NONCE_BYTES - 8);
  return nonce;
}
