/**
 * COSE_Sign1 (RFC 9052, section 4.2), with one of the algorithms that attestation uses.
 */

import { verifySignature } from '#crypto';
import type { SignatureScheme, VerificationKey } from '../crypto/scheme.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { decodeCbor } from './decode.ts';
import { encodeCbor } from './encode.ts';
import { type CborMap, type CborValue, isTagged } from './value.ts';

/** A signed message as parsed. **Trust**: none of it, until `verifySign1` has passed. */
export interface Sign1 extends DetachedSign1 {
  readonly payload: Uint8Array;
}

/** The same without its payload, which stands elsewhere. */
export interface DetachedSign1 {
  /** The protected headers as they stood, and as a map. */
  readonly protectedBytes: Uint8Array;
  readonly protectedHeaders: CborMap;
  readonly unprotectedHeaders: CborMap;
  readonly signature: Uint8Array;
}

/** Tag of a COSE_Sign1. */
export const COSE_SIGN1_TAG = 18;
const HEADER_ALGORITHM = 1;
const HEADER_CRITICAL = 2;

interface Algorithm {
  readonly scheme: SignatureScheme;
  readonly curve?: string;
}

/** COSE algorithms by number (RFC 9053), each with the one curve that is used with it here. */
const ALGORITHMS: Readonly<Record<number, Algorithm>> = {
  [-7]: { scheme: { kind: 'ecdsa', hash: 'sha256', encoding: 'p1363' }, curve: 'P-256' },
  [-35]: { scheme: { kind: 'ecdsa', hash: 'sha384', encoding: 'p1363' }, curve: 'P-384' },
  [-8]: { scheme: { kind: 'ed25519' } },
};

/**
 * Reads a COSE_Sign1, tagged or not.
 * @throws DecodeError; `version` for critical headers, of which none is known.
 */
export function parseSign1(bytes: Uint8Array): Sign1 {
  const { payload, ...message } = parseMessage(bytes);
  if (payload instanceof Uint8Array) return { ...message, payload };
  throw new DecodeError('syntax', 'not a COSE_Sign1 with an attached payload', 0);
}

/** The same of one whose payload is detached. @throws as `parseSign1` */
export function parseDetachedSign1(bytes: Uint8Array): DetachedSign1 {
  const { payload, ...message } = parseMessage(bytes);
  if (payload === null) return message;
  throw new DecodeError('syntax', 'not a COSE_Sign1 with a detached payload', 0);
}

function parseMessage(bytes: Uint8Array): DetachedSign1 & { readonly payload: CborValue } {
  const decoded = decodeCbor(bytes);
  const value = isTagged(decoded) && decoded.tag === COSE_SIGN1_TAG ? decoded.value : decoded;
  const [protectedBytes, unprotectedHeaders, payload = null, signature] = asArray(value, 4);
  const bad = (): never => {
    throw new DecodeError('syntax', 'not a COSE_Sign1', 0);
  };
  if (!(protectedBytes instanceof Uint8Array) || !(unprotectedHeaders instanceof Map)) return bad();
  if (!(signature instanceof Uint8Array)) return bad();
  const protectedHeaders = protectedBytes.length === 0 ? new Map() : decodeCbor(protectedBytes);
  if (!(protectedHeaders instanceof Map)) return bad();
  if (protectedHeaders.has(HEADER_CRITICAL)) throw new DecodeError('version', 'critical COSE headers are not known', 0);
  return { protectedBytes, protectedHeaders, unprotectedHeaders, payload, signature };
}

function asArray(value: CborValue, length: number): readonly CborValue[] {
  if (Array.isArray(value) && value.length === length) return value;
  throw new DecodeError('syntax', `not an array of ${length}`, 0);
}

/**
 * Verifies a message.
 * @param algorithm The one COSE algorithm that the caller accepts; the message must name it among
 * its protected headers.
 * @throws EvidenceError `signature`
 */
export async function verifySign1(message: Sign1, algorithm: -7 | -35 | -8, key: VerificationKey): Promise<void> {
  const named = message.protectedHeaders.get(HEADER_ALGORITHM);
  const known = ALGORITHMS[algorithm];
  if (named !== algorithm || known === undefined || known.curve !== key.curve) {
    throw new EvidenceError(
      'signature',
      `COSE algorithm ${String(named)} with a key on ${key.curve}, expected ${algorithm}`,
    );
  }
  const signed = signedBytes(message.protectedBytes, message.payload);
  if (!(await verifySignature(known.scheme, key, signed, message.signature))) {
    throw new EvidenceError('signature', 'COSE signature does not verify');
  }
}

/** Sig_structure without external data, which a COSE_Sign1 signs. */
export function signedBytes(protectedBytes: Uint8Array, payload: Uint8Array): Uint8Array {
  return encodeCbor(['Signature1', protectedBytes, new Uint8Array(), payload]);
}

/** A tagged COSE_Sign1. @param sign Makes the signature over the bytes given to it. */
export async function encodeSign1(
  algorithm: -7 | -35 | -8,
  payload: Uint8Array,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
  headers: CborMap = new Map(),
): Promise<Uint8Array> {
  const protectedBytes = encodeCbor(new Map([[HEADER_ALGORITHM, algorithm], ...headers]));
  const signature = await sign(signedBytes(protectedBytes, payload));
  return encodeCbor({ tag: COSE_SIGN1_TAG, value: [protectedBytes, new Map(), payload, signature] });
}
