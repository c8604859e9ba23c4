/** A log of leaf hashes in memory, whose records become durable when it is told. */

import type { Sha256 } from '@enclaim/attestation/digest';
import { MerkleTree, merkleRoot } from '@enclaim/attestation/merkle';
import type { CheckpointedLog } from '../../runtime/src/hardware/checkpoints.ts';

type Head = CheckpointedLog['began'];

export class MemoryLog implements CheckpointedLog {
  readonly hashes: Sha256[] = [];
  readonly began: Head;
  #durable: number;
  readonly #listeners: ((head: Head) => void)[] = [];

  /** @param found hashes that were there before this boot */
  constructor(found: readonly Sha256[] = []) {
    this.hashes.push(...found);
    this.#durable = found.length;
    this.began = this.durable;
  }

  /** Gives a record its place, and returns the place. */
  place(hash: Sha256): number {
    return this.hashes.push(hash) - 1;
  }

  /** Makes durable whatever has a place. */
  flush(): void {
    this.#durable = this.hashes.length;
    const head = this.durable;
    for (const tell of this.#listeners) tell(head);
  }

  get durable(): Head {
    return { size: this.#durable, root: merkleRoot(this.hashes.slice(0, this.#durable)) };
  }

  onDurable(listener: (head: Head) => void): void {
    this.#listeners.push(listener);
  }

  async inclusion(index: number, size: number): Promise<Sha256[]> {
    return new MerkleTree(this.hashes.slice(0, size)).path(index);
  }
}
