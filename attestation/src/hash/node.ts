/** Hashing on Node: the system's own code, three times as fast for a message of half a kilobyte. */

import { hash } from 'node:crypto';

/** Digests by algorithm. */
export const HASHES: Readonly<Record<'sha1' | 'sha256' | 'sha384' | 'sha512', (bytes: Uint8Array) => Uint8Array>> = {
  sha1: (bytes) => new Uint8Array(hash('sha1', bytes, 'buffer')),
  sha256: (bytes) => new Uint8Array(hash('sha256', bytes, 'buffer')),
  sha384: (bytes) => new Uint8Array(hash('sha384', bytes, 'buffer')),
  sha512: (bytes) => new Uint8Array(hash('sha512', bytes, 'buffer')),
};
