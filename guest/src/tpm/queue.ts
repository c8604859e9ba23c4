/** One task after another. */

/**
 * Runs tasks in the order in which they were given. Each starts when the one before has ended, well
 * or not.
 */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
