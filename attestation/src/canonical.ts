/** Canonical JSON (RFC 8785) of a known shape: one byte string for one value, both ways. */

import { parseJson } from '@enclaim/policy-schema/admission';
import canonicalize from 'canonicalize';
import type * as z from 'zod';
import { equalBytes, fromUtf8, utf8 } from './bytes.ts';
import { DecodeError } from './errors.ts';

/** Nesting up to which the short way is tried: it goes down by recursion. */
const MAX_SHORT_WAY_DEPTH = 8;

/** Canonical bytes of a JSON value. */
export function encodeCanonical(value: unknown): Uint8Array {
  return utf8(canonicalText(value));
}

/** The same as text. @throws Error for what is no JSON value, or a text that is not Unicode */
export function canonicalText(value: unknown): string {
  const text = isOrdered(value) ? JSON.stringify(value) : canonicalize(value);
  if (text === undefined) throw new TypeError('not a JSON value');
  return text;
}

/**
 * Checks that texts are Unicode: only then `JSON.stringify` writes them as RFC 8785 wants it.
 *
 * @throws TypeError
 */
export function checkUnicode(texts: readonly string[]): void {
  for (const text of texts) if (!text.isWellFormed()) throw new TypeError('a text that is not Unicode');
}

/**
 * Whether `JSON.stringify` writes a value as RFC 8785 wants it: names ascend by UTF-16 code units,
 * and every text is Unicode.
 *
 * **Cost**: values that are written often are put together in that order, and take a third of the
 * time.
 */
function isOrdered(value: unknown, depth = 0): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return value === null || typeof value === 'boolean';
  if (depth > MAX_SHORT_WAY_DEPTH) return false;
  if (Array.isArray(value)) {
    for (const inner of value) if (!isOrdered(inner, depth + 1)) return false;
    return true;
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  let last = '';
  // Makes no list of names. The loop also meets inherited names, which `stringify` does not write.
  // Such a name can only send a value the long way.
  for (const name in value) {
    if ((name <= last && last !== '') || name === 'toJSON' || !name.isWellFormed()) return false;
    if (!isOrdered((value as Record<string, unknown>)[name], depth + 1)) return false;
    last = name;
  }
  return true;
}

/**
 * The value of canonical bytes. Total: any bytes end in a value or a DecodeError.
 * @param limit largest accepted length in bytes
 * @throws DecodeError `range` too long; `syntax` not JSON or not this shape; `canonical` another
 * encoding of the value
 */
export function decodeCanonical<T>(schema: z.ZodType<T>, bytes: Uint8Array, limit: number): T {
  const value = shaped(schema, bytes, limit, (text) => JSON.parse(fromUtf8(text)));
  // The same name twice is another encoding, too.
  if (!equalBytes(encodeCanonical(value), bytes))
    throw new DecodeError('canonical', 'JSON is not in canonical form', 0);
  return value;
}

/**
 * As {@link decodeCanonical}, for JSON that people may have laid out themselves; no object may have
 * the same name twice.
 */
export function decodeJson<T>(schema: z.ZodType<T>, bytes: Uint8Array, limit: number): T {
  return shaped(schema, bytes, limit, parseJson);
}

function shaped<T>(schema: z.ZodType<T>, bytes: Uint8Array, limit: number, parse: (text: Uint8Array) => unknown): T {
  if (bytes.length > limit) throw new DecodeError('range', `${bytes.length} bytes where ${limit} are allowed`, limit);
  let json: unknown;
  try {
    json = parse(bytes);
  } catch (cause) {
    const duplicate = (cause as { readonly code?: unknown }).code === 'duplicate';
    throw new DecodeError('syntax', duplicate ? 'an object has the same name twice' : 'not JSON', 0, { cause });
  }
  const result = schema.safeParse(json);
  if (!result.success) {
    const [issue] = result.error.issues;
    const path = issue?.path.join('.') || 'the document';
    throw new DecodeError('syntax', `${path}: ${issue?.message ?? 'unexpected shape'}`, 0, { cause: result.error });
  }
  return result.data;
}
