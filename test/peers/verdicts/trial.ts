/** What judges of test/peers are fed, and what they answer: one line of JSON each, for a peer's program as for ours. */

import { createHash } from 'node:crypto';

/** One case. Everything that a judge needs is in it, so that both sides judge the same bytes. */
export interface TestCase {
  /** Which judge. */
  readonly kind: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly bytes: Readonly<Record<string, Uint8Array>>;
  readonly lists: Readonly<Record<string, readonly Uint8Array[]>>;
  readonly words: Readonly<Record<string, string>>;
}

/** A case, and what it is, for a reader of a disagreement. */
export interface Trial {
  /** Where it came from: a generator and its number, or a vector. */
  readonly id: string;
  readonly test: TestCase;
}

/** What a judge says. */
export interface Verdict {
  readonly accept: boolean;
  /** Why it was refused. */
  readonly reason?: string;
  /** What was read, where another reader could have read something else. */
  readonly value?: string;
}

/** Makes a case of parts; what is left out is empty. */
export function testCase(kind: string, now: number, parts: Partial<Omit<TestCase, 'kind' | 'now'>>): TestCase {
  return { kind, now, bytes: {}, lists: {}, words: {}, ...parts };
}

/** The line that a peer's program reads. */
export function lineOf({ bytes, lists, ...rest }: TestCase): string {
  const base64 = (value: Uint8Array): string => Buffer.from(value).toString('base64');
  const every = <T, U>(from: Readonly<Record<string, T>>, to: (value: T) => U): Record<string, U> =>
    Object.fromEntries(Object.entries(from).map(([name, value]) => [name, to(value)]));
  return `${JSON.stringify({ ...rest, bytes: every(bytes, base64), lists: every(lists, (list) => list.map(base64)) })}\n`;
}

/** Random numbers of a seed: the same on every machine. */
export class Dice {
  readonly #seed: string;
  #count = 0;
  #block = Buffer.alloc(0);

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** `length` bytes. */
  bytes(length: number): Buffer {
    while (this.#block.length < length) {
      const more = createHash('sha512')
        .update(`${this.#seed} ${this.#count++}`)
        .digest();
      this.#block = Buffer.concat([this.#block, more]);
    }
    const taken = this.#block.subarray(0, length);
    this.#block = this.#block.subarray(length);
    return taken;
  }

  /** From 0 to below `end`. */
  below(end: number): number {
    return this.bytes(6).readUIntBE(0, 6) % end;
  }

  /** Whether an event of this chance, out of a hundred, happened. */
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
}

/** A case with one of the named parts changed, as an attacker or a broken wire would. */
export function mutated(test: TestCase, parts: readonly string[], dice: Dice): TestCase {
  const there = parts.filter((name) => name in test.bytes || (test.lists[name]?.length ?? 0) > 0);
  const name = dice.pick(there);
  const list = test.lists[name];
  if (list === undefined) {
    return { ...test, bytes: { ...test.bytes, [name]: changed(test.bytes[name] ?? new Uint8Array(), dice) } };
  }
  const at = dice.below(list.length);
  const items = list.flatMap((item, index) => {
    if (index !== at) return [item];
    const what = dice.below(8);
    if (what === 0) return [];
    return what === 1 ? [item, item] : [changed(item, dice)];
  });
  return { ...test, lists: { ...test.lists, [name]: items } };
}

function changed(original: Uint8Array, dice: Dice): Uint8Array {
  const bytes = Buffer.from(original);
  const at = dice.below(Math.max(1, bytes.length));
  switch (dice.below(8)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes, dice.bytes(1 + dice.below(8))]);
    case 2:
      return Buffer.concat([bytes, Buffer.alloc(1 + dice.below(8))]);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), dice.bytes(1), bytes.subarray(at)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    case 5:
      return bytes.fill(0, at, Math.min(bytes.length, at + 1 + dice.below(8)));
    default:
      if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
      return bytes;
  }
}
