/** Keys in the order of their code units. */

/** A set of keys that is listed by ranges. */
export class SortedKeys {
  #keys: string[] = [];

  /** Adds a key that is not in it. */
  add(key: string): void {
    this.#keys.splice(this.#position(key), 0, key);
  }

  /** Takes out a key that is in it. */
  delete(key: string): void {
    this.#keys.splice(this.#position(key), 1);
  }

  /** Takes out all keys but those that are to be kept. */
  keep(isKept: (key: string) => boolean): void {
    this.#keys = this.#keys.filter(isKept);
  }

  /** Keys that begin with `prefix` and sort behind `last`, in order. */
  *from(prefix: string, last: string): Generator<string> {
    let at = this.#position(last < prefix ? prefix : last);
    if (this.#keys[at] === last) at++;
    for (; this.#keys[at]?.startsWith(prefix); at++) yield this.#keys[at] as string;
  }

  /** The position of the first key that does not sort before another. */
  #position(key: string): number {
    let [low, high] = [0, this.#keys.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
