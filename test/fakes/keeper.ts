/**
 * A keeper in this process's memory: a counter that only grows, and blobs that open at their count
 * alone. It survives the store that it is given to, as a TPM survives a boot.
 */

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { RefusalError } from '../../runtime/src/errors.ts';
import type { Keeper } from '../../runtime/src/storage/sealed/keeper.ts';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** How a fake keeper starts, and what it does amiss. */
export interface FakeKeeperOptions {
  readonly epoch?: number;
  /** Called before each step; what it throws is what the step rejects with. */
  readonly before?: (step: 'epoch' | 'seal' | 'open' | 'advance') => void;
}

/** A keeper with a counter of its own. */
export class FakeKeeper implements Keeper {
  readonly kind = 'simulated';
  readonly #secret: Uint8Array;
  readonly #before: NonNullable<FakeKeeperOptions['before']>;
  #epoch: number;
  /** How often a key was sealed, and how often the counter went up. */
  readonly counts: { sealed: number; advanced: number } = { sealed: 0, advanced: 0 };

  constructor({ epoch = 0, before = () => {} }: FakeKeeperOptions = {}, secret: Uint8Array = randomBytes(32)) {
    this.#secret = secret;
    this.#epoch = epoch;
    this.#before = before;
  }

  /** The same keeper as it was at this moment: what a host that emulates a TPM can make of it. */
  clone(options: Omit<FakeKeeperOptions, 'epoch'> = {}): FakeKeeper {
    return new FakeKeeper({ ...options, epoch: this.#epoch }, this.#secret);
  }

  async epoch(): Promise<number> {
    this.#before('epoch');
    return this.#epoch;
  }

  async seal(key: Uint8Array, epoch: number): Promise<Uint8Array> {
    this.#before('seal');
    if (epoch !== this.#epoch + 1) throw new RefusalError('keeper', `epoch ${epoch}, where ${this.#epoch} is present`);
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#secret, nonce);
    cipher.setAAD(associated(epoch));
    this.counts.sealed++;
    return Buffer.concat([nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
  }

  async open(blob: Uint8Array): Promise<Uint8Array> {
    this.#before('open');
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#secret, blob.subarray(0, NONCE_BYTES));
      decipher.setAAD(associated(this.#epoch));
      decipher.setAuthTag(blob.subarray(blob.length - TAG_BYTES));
      const key = decipher.update(blob.subarray(NONCE_BYTES, blob.length - TAG_BYTES));
      return Buffer.concat([key, decipher.final()]);
    } catch (cause) {
      throw new RefusalError('keeper', 'the blob does not open at this epoch', { cause });
    }
  }

  async advance(): Promise<number> {
    this.#before('advance');
    this.counts.advanced++;
    this.#epoch++;
    return this.#epoch;
  }
}

function associated(epoch: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(epoch));
  return bytes;
}
