/** Strict JSON in (RFC 8259 and RFC 7493), canonical JSON out (RFC 8785). */

import canonicalize from 'canonicalize';
import { refuse } from './error.ts';

/** Nesting that a document may have. */
export const MAX_DEPTH = 32;

/** Bytes that a policy may have, as it is written and in canonical form. */
export const MAX_BYTES: number = 256 * 1024;

const BACKSLASH = 0x5c;
const QUOTE = 0x22;
const COLON = 0x3a;
const OPEN = new Set([0x5b, 0x7b]);
const CLOSE = new Set([0x5d, 0x7d]);

/**
 * Canonical bytes of a JSON value.
 * @throws PolicyError `encoding` if it has none (a lone surrogate, NaN)
 *
 * @example
 * ```ts
 * import { canonicalJson } from '@enclaim/policy-schema/admission';
 *
 * new TextDecoder().decode(canonicalJson({ b: 1, a: [2] })); // {"a":[2],"b":1}
 * ```
 */
export function canonicalJson(value: unknown): Uint8Array {
  let text: string | undefined;
  try {
    text = canonicalize(value);
  } catch (cause) {
    throw refuse('encoding', 'a value without a canonical form', '', { cause });
  }
  if (text === undefined) throw refuse('type', 'not a JSON value');
  return new TextEncoder().encode(text);
}

/** Text of UTF-8 bytes. @throws PolicyError `encoding` if they are not UTF-8 */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw refuse('encoding', 'not UTF-8', '', { cause });
  }
}

/**
 * The value of a JSON document. Numbers are IEEE doubles, as RFC 8785 has them.
 * @throws PolicyError `encoding`, `syntax`, `depth` or `duplicate`
 *
 * @example
 * ```ts
 * import { parseJson } from '@enclaim/policy-schema/admission';
 *
 * parseJson(new TextEncoder().encode('{"a": 1, "a": 2}')); // throws: two members of one name
 * ```
 */
export function parseJson(bytes: Uint8Array, maxDepth: number = MAX_DEPTH): unknown {
  const text = decodeUtf8(bytes);
  const colons = scan(bytes, maxDepth);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse('syntax', 'not JSON', '', { cause });
  }
  if (countMembers(value) !== colons) throw refuse('duplicate', 'an object has the same key twice');
  return value;
}

/**
 * Counts colons outside strings: one per object member as written, whereas JSON.parse keeps one per
 * key.
 */
function scan(bytes: Uint8Array, maxDepth: number): number {
  let [depth, colons, inString] = [0, 0, false];
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    if (byte === QUOTE) inString = !inString;
    else if (inString) i += byte === BACKSLASH ? 1 : 0;
    else if (byte === COLON) colons++;
    else if (OPEN.has(byte) && ++depth > maxDepth) throw refuse('depth', `nested deeper than ${maxDepth} levels`);
    else if (CLOSE.has(byte)) depth--;
  }
  return colons;
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) {
    if (typeof value === 'number' && !Number.isFinite(value)) throw refuse('value', 'a number out of range');
    return 0;
  }
  const children: unknown[] = Object.values(value);
  const own = Array.isArray(value) ? 0 : children.length;
  return children.reduce((sum: number, child) => sum + countMembers(child), own);
}
