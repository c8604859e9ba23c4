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

interface Entry {
  /** JSON: as text a value takes the memory that is counted for it, as objects up to thirty times as much. */
  readonly text: string;
  readonly label: readonly string[];
  readonly size: number;
  /** Of the monotonic clock, in milliseconds: the host cannot turn it back. */
  readonly deadline: number;
}

/** One collection. A value past its retention is gone, whether or not it was swept. */
export class VolatileCollection {
  readonly #name: string;
  readonly #retention: number;
  readonly #entries = new Map<string, Entry>();
  #size = 0;

  /** @param retention milliseconds */
  constructor(name: string, retention: number) {
    this.#name = name;
    this.#retention = retention;
  }

  get(key: string): Stored | undefined {
    this.#sweep();
    const entry = this.#entries.get(key);
    return entry && { value: JSON.parse(entry.text) as Json, label: entry.label };
  }

  /** @throws RefusalError `grant` for an unusable key, `budget` where the collection is full */
  put(key: string, value: Json, label: readonly string[]): void {
    if (key.length === 0 || key.length > LONGEST_KEY)
      throw new RefusalError('grant', `a key of ${key.length} characters`);
    this.#sweep();
    const text = JSON.stringify(value);
    const size = key.length + text.length;
    const grown = this.#size - (this.#entries.get(key)?.size ?? 0) + size;
    if (grown > MOST_BYTES) throw new RefusalError('budget', `collection ${this.#name} is full`);
    this.#entries.delete(key); // so that the order of the map stays that of the deadlines
    this.#entries.set(key, { text, label, size, deadline: performance.now() + this.#retention });
    this.#size = grown;
  }

  delete(key: string): boolean {
    this.#size -= this.#entries.get(key)?.size ?? 0;
    return this.#entries.delete(key);
  }

  /** Keys, sorted, and the label of knowing them: that of everything they name. */
  list(): { keys: string[]; label: string[] } {
    this.#sweep();
    const label = new Set([...this.#entries.values()].flatMap((entry) => entry.label));
    return { keys: [...this.#entries.keys()].sort(), label: [...label].sort() };
  }

  #sweep(): void {
    const now = performance.now();
    for (const [key, { deadline }] of this.#entries) {
      if (deadline > now) return;
      this.delete(key);
    }
  }
}
