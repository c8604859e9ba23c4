/**
 * A receipt's commitment to the messages of one direction. It is made as they pass, so that a
 * stream is never held as a whole.
 */

import { createHash, type Hash } from 'node:crypto';
import { u64be } from '@enclaim/attestation/bytes';
import type { DigestText } from '@enclaim/attestation/digest';
import { type Committed, commitmentHead, commitmentText } from '@enclaim/attestation/receipt';

/** `commitment` of `attestation/receipt`, to messages that come one by one. */
export class Commitment {
  readonly #direction: Committed;
  readonly #salt: Uint8Array;
  /**
   * The only message so far.
   *
   * **Cost**: an incremental hash costs more than all of a small message, and most calls have one
   * message.
   */
  #only: Uint8Array | undefined;
  #hash: Hash | undefined;
  #count = 0;

  /** @param salt 16 bytes */
  constructor(direction: Committed, salt: Uint8Array) {
    this.#direction = direction;
    this.#salt = salt;
  }

  /** @param message not to be written to until the next message or the digest */
  add(message: Uint8Array): void {
    this.#count++;
    if (this.#hash !== undefined) this.#take(this.#hash, message);
    else if (this.#only === undefined) this.#only = message;
    else {
      this.#hash = createHash('sha256').update(commitmentHead(this.#direction, this.#salt));
      this.#take(this.#hash, this.#only);
      this.#take(this.#hash, message);
      this.#only = undefined;
    }
  }

  /** Number of messages so far. */
  get count(): number {
    return this.#count;
  }

  /** Ends the commitment. */
  digest(): DigestText<'sha256'> {
    if (this.#hash !== undefined) return `sha256:${this.#hash.digest('hex')}`;
    return commitmentText(this.#direction, this.#salt, this.#only === undefined ? [] : [this.#only]);
  }

  /**
   * The same of the messages so far, whatever comes later; made when it is asked for, if there is
   * one message.
   */
  later(): () => DigestText<'sha256'> {
    const only = this.#only;
    if (only !== undefined) return () => commitmentText(this.#direction, this.#salt, [only]);
    const digest = this.digest();
    return () => digest;
  }

  #take(hash: Hash, message: Uint8Array): void {
    hash.update(u64be(message.length)).update(message);
  }
}
