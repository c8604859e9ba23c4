/** A part of evidence: parsed, or refused under the code of the layer that needed it. */

import { importKey } from '#crypto';
import type { VerificationKey } from './crypto/scheme.ts';
import { DecodeError, EvidenceError, type EvidenceErrorCode } from './errors.ts';
import { parseOnce } from './parse-once.ts';

/**
 * `parse(bytes)`, with a DecodeError turned into the refusal of a whole piece of evidence.
 * @param code `format` for parts that the hardware made, `chain` for certificates, `collateral` for
 * parts that the makers published.
 * @throws EvidenceError `code`, with the DecodeError as its cause.
 */
export function parsePart<T, V>(code: EvidenceErrorCode, name: string, value: V, parse: (value: V) => T): T {
  try {
    return parse(value);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new EvidenceError(code, `${name} does not parse: ${cause.message}`, { cause });
  }
}

/** One object for one SubjectPublicKeyInfo, and the key that was imported from it. */
const sameSpki = parseOnce((spki) => ({ spki }));
const imported = new WeakMap<object, VerificationKey>();

/**
 * The same for a key, which is imported asynchronously, once for keys that come again.
 * @param spki DER SubjectPublicKeyInfo
 * @throws EvidenceError `format`
 */
export async function importPart(name: string, spki: Uint8Array): Promise<VerificationKey> {
  const same = sameSpki(spki);
  const known = imported.get(same);
  if (known !== undefined) return known;
  try {
    const key = await importKey(same.spki);
    imported.set(same, key);
    return key;
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new EvidenceError('format', `${name} does not parse: ${cause.message}`, { cause });
  }
}
