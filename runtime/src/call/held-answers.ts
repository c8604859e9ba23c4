/** Answers that wait for their records and receipts. */

/** Answers that wait for the same write of the log and the same signature. */
interface Group {
  readonly durable: Promise<unknown> | null;
  readonly batch: Promise<readonly Uint8Array[]>;
  /** Resolves with all receipts of the batch once both are done. */
  readonly whole: Promise<readonly Uint8Array[]>;
}

/**
 * Holds answers back until their records are durable and their receipts signed.
 *
 * **Cost**: records of one write become durable together, so their answers are released together
 * and share one promise.
 */
export class HeldAnswers {
  #group: Group | undefined;

  /**
   * Resolves with the receipts of an answer's batch once the answer may leave. Rejects if the
   * record cannot be made durable or the receipts not be signed.
   *
   * @param durable resolves when the record of the answer is on stable storage
   */
  release(durable: Group['durable'], batch: Group['batch']): Group['whole'] {
    const last = this.#group;
    if (last?.durable === durable && last.batch === batch) return last.whole;
    const whole = Promise.all([durable, batch]).then(([, receipts]) => receipts);
    const group = { durable, batch, whole };
    const over = (): void => {
      if (this.#group === group) this.#group = undefined;
    };
    whole.then(over, over);
    this.#group = group;
    return whole;
  }
}
