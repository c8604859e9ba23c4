/** Quote batches: one hardware signature for everyone who asked while the last one ran. */

import type { BatchPath } from '@enclaim/attestation/batch';
import { leafHash, MerkleTree } from '@enclaim/attestation/merkle';
import { RefusalError } from './errors.ts';
import type { HardwareEvidence } from './platform.ts';

/** A leaf's place under a signed root. */
export interface SignedLeaf {
  readonly leaf: BatchPath;
  readonly hardware: HardwareEvidence;
}

interface Waiting {
  readonly data: Uint8Array;
  readonly resolve: (signed: SignedLeaf) => void;
  readonly reject: (error: unknown) => void;
}

/** Leaves that may wait for the next signature; more are refused. */
const MOST_WAITING = 4096;

/** Collects leaves while a signature runs, then signs them all at once. At most one signature runs at a time. */
export class QuoteBatcher {
  readonly #sign: (root: Uint8Array) => Promise<HardwareEvidence>;
  #waiting: Waiting[] = [];
  #running = false;

  constructor(sign: (root: Uint8Array) => Promise<HardwareEvidence>) {
    this.#sign = sign;
  }

  /** Signs leaf data. @throws RefusalError `budget` where too many wait; whatever the signer throws */
  add(data: Uint8Array): Promise<SignedLeaf> {
    if (this.#waiting.length >= MOST_WAITING) {
      return Promise.reject(new RefusalError('budget', `${MOST_WAITING} evidence requests are already waiting`));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ data, resolve, reject });
      if (!this.#running) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const tree = new MerkleTree(batch.map(({ data }) => leafHash(data)));
      try {
        const hardware = await this.#sign(tree.root);
        batch.forEach(({ data, resolve }, index) => {
          resolve({ leaf: { data, index, size: batch.length, path: tree.path(index) }, hardware });
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#running = false;
  }
}
