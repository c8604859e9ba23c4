/** Entries that come and go with calls, of which few are there at once. */

/** Removals after which the table is made anew, where no more entries than these are there. */
const MIN_REMOVALS = 64;

/**
 * A map that starts a new table after as many removals as it has entries.
 *
 * **Cost**: a table of the engine refers to the one that replaced it, and is replaced every few
 * insertions. Once one has grown old, each later one, with all that was in it, outlives the small
 * collections. Without this, a sixth of what a call allocates is copied twice and cleared away only
 * by a collection of the whole heap.
 */
export class LiveMap<K, V> {
  #table = new Map<K, V>();
  #removals = 0;

  get size(): number {
    return this.#table.size;
  }

  has(key: K): boolean {
    return this.#table.has(key);
  }

  get(key: K): V | undefined {
    return this.#table.get(key);
  }

  set(key: K, value: V): void {
    this.#table.set(key, value);
  }

  /** @returns whether there was such an entry */
  delete(key: K): boolean {
    if (!this.#table.delete(key)) return false;
    if (++this.#removals >= Math.max(MIN_REMOVALS, this.#table.size)) {
      this.#table = new Map(this.#table);
      this.#removals = 0;
    }
    return true;
  }

  /** Keys in the order of insertion. One that is removed meanwhile may come all the same. */
  keys(): MapIterator<K> {
    return this.#table.keys();
  }

  /** Values in the order of insertion, as `keys`. */
  values(): MapIterator<V> {
    return this.#table.values();
  }

  /** Entries in the order of insertion, as `keys`. */
  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.#table.entries();
  }
}
