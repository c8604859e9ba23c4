/** Hashing in browsers, whose own hashes are asynchronous. */

import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';
import { toHex, utf8 } from '../bytes.ts';

type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** Digests by algorithm. */
export const HASHES: Readonly<Record<HashName, (bytes: Uint8Array) => Uint8Array>> = {
  sha1,
  sha256,
  sha384,
  sha512,
};

/** A digest in lower-case hexadecimal. A text is hashed as UTF-8. */
export function hexDigest(name: HashName, data: Uint8Array | string): string {
  return toHex(HASHES[name](typeof data === 'string' ? utf8(data) : data));
}
