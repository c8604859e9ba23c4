/** A part of evidence: parsed, or refused under the code of the layer that needed it. */

import { importKey } from '#crypto';
import type { VerificationKey } from './crypto/scheme.ts';
import { DecodeError, EvidenceError, type EvidenceErrorCode } from './errors.ts';

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

/**
 * The same for a key, which is read asynchronously.
 * @param spki DER SubjectPublicKeyInfo
 * @throws EvidenceError `format`
 */
export async function importPart(name: string, spki: Uint8Array): Promise<VerificationKey> {
  try {
    return await importKey(spki);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new EvidenceError('format', `${name} does not parse: ${cause.message}`, { cause });
  }
}
