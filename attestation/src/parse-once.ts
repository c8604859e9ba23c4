/**
 * Parts that come again with later evidence, such as certificates, revocation lists and
 * collateral: each is parsed once, and what was parsed is kept by the SHA-256 of its bytes.
 *
 * **Trust**: no verdict is kept, and no outcome of a signature. A parser's result is a function of
 * the bytes alone: no clock, root or list goes into it. So a part that was parsed before is what
 * parsing its bytes again would give. Signatures, dates, revocation and demands are judged each
 * time.
 */

import { toHex } from './bytes.ts';
import { sha256 } from './digest.ts';

/** Parts that each parser keeps. */
export const MAX_PARSED_PARTS = 128;
/**
 * Bytes that each parser keeps parsed, in all; a part of more is parsed each time. What they were
 * parsed to takes some five times as much memory.
 */
export const MAX_PARSED_BYTES: number = 512 * 1024;

interface Kept<T> {
  readonly part: T;
  readonly bytes: number;
}

const forgetters: (() => void)[] = [];

/**
 * The same parser, which parses equal bytes once. The part that was longest not asked for leaves
 * first, so a peer that sends many parts can make later parsing slow, never its memory grow.
 *
 * **Trust**: callers share the part, so its objects and arrays are frozen. It lies over a copy of
 * the bytes: writing to the input afterwards changes nothing. Do not write to its byte strings and
 * maps, which cannot be frozen.
 * @param parse Depends on nothing but the bytes. Bytes that it throws on are not kept.
 */
export function parseOnce<T extends object>(parse: (bytes: Uint8Array) => T): (bytes: Uint8Array) => T {
  // A map is walked in the order of insertion: the first is the one longest not asked for.
  const parts = new Map<string, Kept<T>>();
  let total = 0;
  forgetters.push(() => {
    parts.clear();
    total = 0;
  });
  return (bytes) => {
    if (bytes.length > MAX_PARSED_BYTES) return parse(bytes);
    const digest = toHex(sha256(bytes));
    const known = parts.get(digest);
    if (known !== undefined) {
      parts.delete(digest);
      parts.set(digest, known);
      return known.part;
    }
    // Not `slice`, which in a Buffer gives a view.
    const kept = { part: frozen(parse(new Uint8Array(bytes))), bytes: bytes.length };
    parts.set(digest, kept);
    total += kept.bytes;
    for (const [oldest, one] of parts) {
      if (parts.size <= MAX_PARSED_PARTS && total <= MAX_PARSED_BYTES) break;
      parts.delete(oldest);
      total -= one.bytes;
    }
    return kept.part;
  };
}

/**
 * The same function, which runs once for each object. What it gave lives as long as the object.
 * @param derive Depends on nothing but the object, which nothing changes. What it throws is not
 * kept.
 */
export function deriveOnce<K extends object, V extends object | string>(derive: (of: K) => V): (of: K) => V {
  const derived = new WeakMap<K, V>();
  return (of) => {
    const known = derived.get(of);
    if (known !== undefined) return known;
    const made = frozen(derive(of));
    derived.set(of, made);
    return made;
  };
}

/** Forgets every part, so that the next evidence is parsed as the first one is. */
export function forgetParsed(): void {
  for (const forget of forgetters) forget();
}

/** The value, with its objects and arrays frozen at every depth. Byte strings cannot be. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) frozen(inner);
  return value;
}
