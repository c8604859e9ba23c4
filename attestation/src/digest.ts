/** Digests: hashing, branded by algorithm, and the text `sha256:<hex>` they travel as. */

import { HASHES, hexDigest } from '#hash';
import { fromHex, join, toHex } from './bytes.ts';
import { DecodeError } from './errors.ts';
import { type Label, labelBytes } from './labels.ts';

declare const digest: unique symbol;

/** 32 bytes of SHA-256. */
export type Sha256 = Uint8Array & { readonly [digest]: 'sha256' };
/** 48 bytes of SHA-384. */
export type Sha384 = Uint8Array & { readonly [digest]: 'sha384' };
/** 64 bytes of SHA-512. */
export type Sha512 = Uint8Array & { readonly [digest]: 'sha512' };
/** 20 bytes of SHA-1: read in old event logs and quotes, never made by us. */
export type Sha1 = Uint8Array & { readonly [digest]: 'sha1' };

/** The hash algorithms that evidence may use. */
export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512';
/** Digest length in bytes. */
export const HASH_LENGTH: Readonly<Record<HashName, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };

/** A digest as text: algorithm, colon, lower-case hexadecimal. */
export type DigestText<H extends HashName = HashName> = `${H}:${string}`;

export function sha1(bytes: Uint8Array): Sha1 {
  return HASHES.sha1(bytes) as Sha1;
}

export function sha256(bytes: Uint8Array): Sha256 {
  return HASHES.sha256(bytes) as Sha256;
}

/**
 * Buffer in which parts are put together to be hashed.
 *
 * **Cost**: a new buffer for each call costs as much as hashing its contents.
 */
const together = new Uint8Array(8 * 1024);

/** SHA-256 over the parts joined. */
export function sha256Joined(parts: readonly Uint8Array[]): Sha256 {
  return sha256(joinedToHash(parts));
}

/** The same as a digest text. */
export function sha256JoinedDigest(parts: readonly Uint8Array[]): DigestText<'sha256'> {
  return sha256Digest(joinedToHash(parts));
}

/** SHA-256 of bytes, or of a text as UTF-8, as a digest text. */
export function sha256Digest(data: Uint8Array | string): DigestText<'sha256'> {
  return `sha256:${hexDigest('sha256', data)}`;
}

/** The parts joined, until the next call. */
function joinedToHash(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  if (length > together.length) return join(parts);
  let at = 0;
  for (const part of parts) {
    together.set(part, at);
    at += part.length;
  }
  return together.subarray(0, length);
}

export function sha384(bytes: Uint8Array): Sha384 {
  return HASHES.sha384(bytes) as Sha384;
}

export function sha512(bytes: Uint8Array): Sha512 {
  return HASHES.sha512(bytes) as Sha512;
}

/** The digest of `bytes` under the named algorithm. */
export function hash(name: HashName, bytes: Uint8Array): Uint8Array {
  return HASHES[name](bytes);
}

/**
 * SHA-256 over a label, a NUL and the parts. Every part but the last must have a fixed length under
 * the label, or carry its own length, because the concatenation itself is not framed.
 */
export function labelled(label: Label, ...parts: readonly Uint8Array[]): Sha256 {
  return sha256Joined([labelBytes(label), ...parts]);
}

/** `name:<hex>`. */
export function digestText<H extends HashName>(name: H, bytes: Uint8Array): DigestText<H> {
  return `${name}:${toHex(bytes)}`;
}

const TEXTS = {
  sha1: /^sha1:[0-9a-f]{40}$/,
  sha256: /^sha256:[0-9a-f]{64}$/,
  sha384: /^sha384:[0-9a-f]{96}$/,
  sha512: /^sha512:[0-9a-f]{128}$/,
} as const;

/**
 * Whether a text is `name:` and as many lower-case hexadecimal digits as a digest of that name has.
 */
export function isDigestText<H extends HashName>(name: H, text: string): text is DigestText<H> {
  return TEXTS[name].test(text);
}

/**
 * The bytes of a digest text.
 * @throws DecodeError `syntax` on another algorithm, another length or upper case.
 */
export function parseDigest(name: HashName, text: string): Uint8Array {
  if (!isDigestText(name, text)) {
    const digits = HASH_LENGTH[name] * 2;
    throw new DecodeError('syntax', `not a digest of the form ${name}:<${digits} lower-case hex digits>`, 0);
  }
  return fromHex(text.slice(name.length + 1));
}
