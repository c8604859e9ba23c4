/**
 * Shares: the calls that one attested connection carries at once, divided among the connections
 * that came in.
 */

/** Multiple of the free places that one connection may hold. One alone gets three quarters. */
const TIMES_FREE = 3;

/** A call that waits for a place. */
interface Waiting {
  readonly holder: object;
  readonly begin: () => void;
}

/**
 * Places for calls, divided so that the client that came first cannot hold them all. A connection
 * gets another place while it holds less than three times what is left. Without this, one client
 * with silent streams would keep every other client from its calls.
 */
export class Shares {
  #free: number;
  readonly #held = new Map<object, number>();
  #waiting: Waiting[] = [];

  /** @param places calls at once, of all connections together */
  constructor(places: number) {
    this.#free = places;
  }

  /**
   * Begins a call of a connection as soon as there is a place for it. Calls of one connection begin
   * in order.
   * @returns ends the call, or its waiting; to be called once
   */
  take(holder: object, begin: () => void): () => void {
    const waiting: Waiting = { holder, begin };
    this.#waiting.push(waiting);
    this.#fill();
    return () => {
      const before = this.#waiting.length;
      this.#waiting = this.#waiting.filter((each) => each !== waiting);
      if (this.#waiting.length === before) this.#release(holder);
    };
  }

  #release(holder: object): void {
    this.#free++;
    const left = (this.#held.get(holder) ?? 1) - 1;
    if (left === 0) this.#held.delete(holder);
    else this.#held.set(holder, left);
    this.#fill();
  }

  /** Gives places to those that hold least, the oldest call of each first. */
  #fill(): void {
    for (;;) {
      let next: Waiting | undefined;
      for (const each of this.#waiting) {
        if (next === undefined || this.#of(each.holder) < this.#of(next.holder)) next = each;
      }
      if (next === undefined || this.#of(next.holder) >= TIMES_FREE * this.#free) return;
      const chosen = next;
      this.#waiting = this.#waiting.filter((each) => each !== chosen);
      this.#free--;
      this.#held.set(chosen.holder, this.#of(chosen.holder) + 1);
      chosen.begin();
    }
  }

  #of(holder: object): number {
    return this.#held.get(holder) ?? 0;
  }
}
