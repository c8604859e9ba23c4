/** Hashing in browsers, whose own hashes are asynchronous. */

import { sha1 } from '@noble/hashes/legacy.js';
import { sha256, sha384, sha512 } from '@noble/hashes/sha2.js';

/** Digests by algorithm. */
export const HASHES: Readonly<Record<'sha1' | 'sha256' | 'sha384' | 'sha512', (bytes: Uint8Array) => Uint8Array>> = {
  sha1,
  sha256,
  sha384,
  sha512,
};
