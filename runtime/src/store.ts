/** Collections that live in this boot's memory only. Every value carries the label of the call that wrote it. */

import { RefusalError } from './errors.ts';
import { FRAME_LIMIT, type Json } from './worker/protocol.ts';

/** A place where something is stored, or was deleted. */
export interface Stored {
  /** undefined: it was deleted. */
  readonly value: Json | undefined;
  /** What knowing it carries; of what was deleted, also what the call carried that did it. */
  readonly label: readonly string[];
  /** When the oldest of what it was made of was first stored: milliseconds of the monotonic clock, which the host cannot turn back. */
  readonly since: number;
}

/** Bytes that one collection may hold, and those that an entry is counted beside its key and text. */
const MOST_BYTES = 64 * 1024 * 1024;
const ENTRY_BYTES = 256;
const LONGEST_KEY = 256;
/** Of a value, so that an answer can take it. Numbers may be longer than they were written. */
const LARGEST_VALUE = FRAME_LIMIT - 1024;
/** Milliseconds between two looks for what is past its retention. */
const SWEEP_MS = 1000;

interface Entry {
  /** JSON: as text a value takes the memory that is counted for it, as objects up to thirty times as much. undefined: deleted. */
  readonly text: string | undefined;
  readonly label: readonly string[];
  readonly size: number;
  readonly since: number;
}

/** One collection. A value past its retention is gone, whether or not it was swept. */
export class VolatileCollection {
  readonly #name: string;
  readonly #retention: number;
  readonly #entries = new Map<string, Entry>();
  #size = 0;
  #swept = 0;

  /** @param retention milliseconds */
  constructor(name: string, retention: number) {
    this.#name = name;
    this.#retention = retention;
  }

  get(key: string): Stored | undefined {
    this.#sweep();
    const entry = this.#entries.get(key);
    if (entry === undefined || this.#isOver(entry)) return undefined;
    const { text, label, since } = entry;
    return { value: text === undefined ? undefined : (JSON.parse(text) as Json), label, since };
  }

  /**
   * @param since of the oldest that the value was made of: its retention goes on from there
   * @throws RefusalError `grant` for an unusable key; `budget`, which ends the call, where the collection is full: by trying other
   * sizes a handler would find out how full
   */
  put(key: string, value: Json, label: readonly string[], since: number = performance.now()): void {
    if (key.length === 0 || key.length > LONGEST_KEY)
      throw new RefusalError('grant', `a key of ${key.length} characters`);
    this.#sweep();
    const text = JSON.stringify(value);
    if (Buffer.byteLength(text) > LARGEST_VALUE)
      throw new RefusalError('budget', `a value of more than ${LARGEST_VALUE} bytes`);
    const grown = this.#size - (this.#entries.get(key)?.size ?? 0) + sizeOf(key, text);
    if (grown > MOST_BYTES) throw new RefusalError('budget', `collection ${this.#name} is full`, { final: true });
    this.#set(key, { text, label, size: sizeOf(key, text), since });
  }

  /**
   * Deletes what is there. That it is missing says what the call carried that deleted it, where others that are still there say
   * nothing: so the place keeps a label for as long as it would have kept the value.
   */
  delete(key: string, label: readonly string[]): void {
    const entry = this.#entries.get(key);
    if (entry?.text === undefined) return;
    const both = [...new Set([...entry.label, ...label])].sort();
    this.#set(key, { text: undefined, label: both, size: sizeOf(key, ''), since: entry.since });
  }

  /** Keys, sorted, and the label of knowing them: that of everything they name, and of what is missing. */
  list(): { keys: string[]; label: string[] } {
    const there = [...this.#entries].filter(([, entry]) => !this.#isOver(entry));
    const label = new Set(there.flatMap(([, entry]) => entry.label));
    const keys = there.filter(([, { text }]) => text !== undefined).map(([key]) => key);
    return { keys: keys.sort(), label: [...label].sort() };
  }

  #set(key: string, entry: Entry): void {
    this.#drop(key);
    this.#entries.set(key, entry);
    this.#size += entry.size;
  }

  #drop(key: string): void {
    this.#size -= this.#entries.get(key)?.size ?? 0;
    this.#entries.delete(key);
  }

  #isOver({ since }: Entry): boolean {
    return since + this.#retention <= performance.now();
  }

  #sweep(): void {
    const now = performance.now();
    if (now - this.#swept < SWEEP_MS) return;
    this.#swept = now;
    for (const [key, entry] of this.#entries) if (this.#isOver(entry)) this.#drop(key);
  }
}

function sizeOf(key: string, text: string): number {
  return ENTRY_BYTES + key.length + text.length;
}
