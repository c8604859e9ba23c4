/** Collections that live in this boot's memory only. Every value carries the label of the call that wrote it. */

import { RefusalError } from './errors.ts';
import type { Json } from './worker/protocol.ts';

/** A stored value and the categories it carries. */
export interface Stored {
  readonly value: Json;
  readonly label: readonly string[];
}

/** Bytes of JSON that one collection may hold. */
const MOST_BYTES = 64 * 1024 * 1024;
const LONGEST_KEY = 256;

/** One collection. */
export class VolatileCollection {
  readonly #name: string;
  readonly #entries = new Map<string, Stored & { readonly size: number }>();
  #size = 0;

  constructor(name: string) {
    this.#name = name;
  }

  get(key: string): Stored | undefined {
    return this.#entries.get(key);
  }

  /** @throws RefusalError `grant` for an unusable key, `budget` where the collection is full */
  put(key: string, value: Json, label: readonly string[]): void {
    if (key.length === 0 || key.length > LONGEST_KEY)
      throw new RefusalError('grant', `a key of ${key.length} characters`);
    const size = key.length + JSON.stringify(value).length;
    const grown = this.#size - (this.#entries.get(key)?.size ?? 0) + size;
    if (grown > MOST_BYTES) throw new RefusalError('budget', `collection ${this.#name} is full`);
    this.#entries.set(key, { value, label, size });
    this.#size = grown;
  }

  delete(key: string): boolean {
    this.#size -= this.#entries.get(key)?.size ?? 0;
    return this.#entries.delete(key);
  }

  /** Keys, sorted, and the label of knowing them: that of everything they name. */
  list(): { keys: string[]; label: string[] } {
    const label = new Set([...this.#entries.values()].flatMap((entry) => entry.label));
    return { keys: [...this.#entries.keys()].sort(), label: [...label].sort() };
  }
}
