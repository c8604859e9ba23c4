/**
 * The answer gate of one call: while a subprocessor is pending, the handler learns nothing new.
 *
 * **Leak**: an answer may be empty, and an empty answer carries no label. If other operations
 * completed meanwhile, the handler could count them and so measure how long the subprocessor took:
 * a number of any size, past the flow rules.
 *
 * - Start: no operation starts while an outward one is pending.
 * - Finish: an operation that already runs may finish, but its result is held back.
 * - Order: outward operations are answered in the order in which they were asked for. Another order
 *   would tell which subprocessor was faster.
 */
export class AnswerGate {
  /** Number of outward operations that are not answered yet. */
  #outward = 0;
  /**
   * Settles after the answer of the last outward operation; undefined before the first. Never
   * rejects.
   */
  #last: Promise<unknown> | undefined;

  /** Resolves when the outward operations asked for so far are answered; undefined if all are. */
  get pending(): Promise<unknown> | undefined {
    // layer: answers wait for what is pending (off: undefined)
    return this.#outward > 0 ? this.#last : undefined;
  }

  /** Resolves when no outward operation is pending. */
  async opened(): Promise<void> {
    for (let on = this.pending; on !== undefined; on = this.pending) await on;
  }

  /** Answers an outward operation in its turn, and keeps the gate closed until then. */
  outward<T>(operation: Promise<T>): Promise<T> {
    const answer = this.#inTurn(operation);
    this.#last = answer.catch(() => {});
    return answer;
  }

  /** Answers any other operation once the gate is open. */
  async held<T>(operation: Promise<T>): Promise<T> {
    try {
      return await operation;
    } finally {
      await this.opened();
    }
  }

  async #inTurn<T>(operation: Promise<T>): Promise<T> {
    this.#outward++;
    try {
      await Promise.allSettled([this.#last, operation]);
      return await operation;
    } finally {
      this.#outward--;
    }
  }
}
