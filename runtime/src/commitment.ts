/** A receipt's commitment to the messages of one direction, made as they pass: a stream is never held as a whole. */

import { createHash } from 'node:crypto';
import { concat, u64be, utf8 } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, type Sha256 } from '@enclaim/attestation/digest';

const LABELS = { request: utf8('enclaim/request/v1\0'), response: utf8('enclaim/response/v1\0') } as const;

/** `SHA-256("enclaim/<direction>/v1" ‖ NUL ‖ salt ‖ (u64 length ‖ message)*)`, as `commitment` of `attestation/receipt`. */
export class Commitment {
  readonly #hash = createHash('sha256');

  /** @param salt 16 bytes */
  constructor(direction: 'request' | 'response', salt: Uint8Array) {
    this.#hash.update(concat(LABELS[direction], salt));
  }

  add(message: Uint8Array): void {
    this.#hash.update(u64be(message.length));
    this.#hash.update(message);
  }

  /** Ends it. */
  digest(): DigestText<'sha256'> {
    return digestText('sha256', new Uint8Array(this.#hash.digest()) as Sha256);
  }
}
