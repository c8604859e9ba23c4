/**
 * A keeper for a session of `enclaim dev`: it holds keys in this process's memory, and so for as
 * long as the session's log lasts.
 */

import { randomBytes } from 'node:crypto';
import { toHex } from '@enclaim/attestation/bytes';
import { RefusalError } from '../errors.ts';
import type { Keeper } from '../storage/sealed/keeper.ts';

const BLOB_BYTES = 16;

/** Keeps keys by random names, which are its blobs. */
export class SessionKeeper implements Keeper {
  readonly kind = 'simulated';
  readonly #keys = new Map<string, { readonly epoch: number; readonly key: Uint8Array }>();
  #epoch = 0;

  async epoch(): Promise<number> {
    return this.#epoch;
  }

  async seal(key: Uint8Array, epoch: number): Promise<Uint8Array> {
    if (epoch !== this.#epoch + 1) throw new RefusalError('keeper', `epoch ${epoch} does not follow ${this.#epoch}`);
    const blob = randomBytes(BLOB_BYTES);
    this.#keys.set(toHex(blob), { epoch, key: Uint8Array.from(key) });
    return blob;
  }

  async open(blob: Uint8Array): Promise<Uint8Array> {
    const kept = this.#keys.get(toHex(blob));
    if (kept?.epoch !== this.#epoch) throw new RefusalError('keeper', `no key of epoch ${this.#epoch} is kept for it`);
    return Uint8Array.from(kept.key);
  }

  async advance(): Promise<number> {
    this.#epoch++;
    for (const [name, { epoch, key }] of this.#keys) {
      if (epoch >= this.#epoch) continue;
      key.fill(0);
      this.#keys.delete(name);
    }
    return this.#epoch;
  }
}
