/** Answers that are made and may not leave yet. */

import type { Batched } from '../batcher.ts';

/** An answer of a group. */
interface Held {
  readonly index: number;
  readonly resolve: (receipt: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** Answers whose records are in one write, and whose receipts are in one tree. */
interface Group {
  readonly durable: Promise<unknown>;
  readonly batch: Promise<readonly Uint8Array[]>;
  readonly held: Held[];
}

/**
 * Holds answers back until their records are durable and their receipts signed.
 *
 * **Cost**: records of one write become durable together, so their answers are released together
 * and cost one wait in all.
 */
export class HeldAnswers {
  #group: Group | undefined;

  /**
   * Resolves with an answer's receipt once the answer may leave. Rejects if the record cannot be
   * made durable or the receipt not be signed.
   *
   * @param durable resolves when the record of the answer is on stable storage
   */
  release(durable: Promise<unknown>, { batch, index }: Batched<Uint8Array>): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const last = this.#group;
      const group = last?.durable === durable && last.batch === batch ? last : this.#begin(durable, batch);
      group.held.push({ index, resolve, reject });
    });
  }

  #begin(durable: Promise<unknown>, batch: Group['batch']): Group {
    const group: Group = { durable, batch, held: [] };
    this.#group = group;
    const end = (settle: (held: Held) => void): void => {
      if (this.#group === group) this.#group = undefined;
      group.held.forEach(settle);
    };
    Promise.all([durable, batch]).then(
      ([, receipts]) => end(({ index, resolve }) => resolve(receipts[index] as Uint8Array)),
      (error: unknown) => end(({ reject }) => reject(error)),
    );
    return group;
  }
}
