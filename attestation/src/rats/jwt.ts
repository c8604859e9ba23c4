/** Signed JWTs (RFC 7519, RFC 7515 compact form) with one algorithm that the caller pins. */

import { importKey, verifySignature } from '#crypto';
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '../bytes.ts';
import type { SignatureScheme } from '../crypto/scheme.ts';
import { DecodeError, EvidenceError } from '../errors.ts';
import { parsePart } from '../parse-part.ts';

/** JWS algorithms that are verified here. */
export type JwsAlgorithm = 'ES256' | 'ES384' | 'EdDSA';

const SCHEMES: Readonly<Record<JwsAlgorithm, SignatureScheme>> = {
  ES256: { kind: 'ecdsa', hash: 'sha256', encoding: 'p1363' },
  ES384: { kind: 'ecdsa', hash: 'sha384', encoding: 'p1363' },
  EdDSA: { kind: 'ed25519' },
};

/** Key that each algorithm is used with. */
const KEYS: Readonly<Record<JwsAlgorithm, string>> = { ES256: 'P-256', ES384: 'P-384', EdDSA: 'ed25519' };
const MAX_TOKEN = 1 << 18;

interface Parts {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Uint8Array;
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * The payload of a token that `spki` signed.
 *
 * **Trust**: the token's header chooses neither the algorithm nor the key.
 * @throws EvidenceError `format`, `signature`
 */
export async function verifyJwt(token: string, spki: Uint8Array, algorithm: JwsAlgorithm): Promise<Uint8Array> {
  const { header, payload, signed, signature } = parsePart('format', 'token', token, parseJwt);
  const key = await importKey(spki);
  if (header.alg !== algorithm || (key.curve ?? key.type) !== KEYS[algorithm]) {
    throw new EvidenceError('signature', `token is signed with ${String(header.alg)}, expected ${algorithm}`);
  }
  if (!(await verifySignature(SCHEMES[algorithm], key, signed, signature))) {
    throw new EvidenceError('signature', 'token signature does not verify');
  }
  return payload;
}

function parseJwt(token: string): Parts {
  if (token.length > MAX_TOKEN) throw new DecodeError('range', `token of ${token.length} characters`, 0);
  const [header, payload, signature, ...rest] = token.split('.');
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) {
    throw new DecodeError('syntax', 'not a token of three parts', 0);
  }
  const fields = parseObject(fromBase64Url(header));
  if ('crit' in fields || 'b64' in fields) throw new DecodeError('version', 'critical token headers are not known', 0);
  return {
    header: fields,
    payload: fromBase64Url(payload),
    signed: utf8(`${header}.${payload}`),
    signature: fromBase64Url(signature),
  };
}

/** A JSON object. @throws DecodeError `syntax` */
export function parseObject(bytes: Uint8Array): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new DecodeError('syntax', 'not JSON', 0, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new DecodeError('syntax', 'not a JSON object', 0);
  }
  return value as Record<string, unknown>;
}

/** A token. @param sign Makes the signature (r‖s for ECDSA) over the bytes given to it. */
export async function signJwt(
  payload: Uint8Array,
  algorithm: JwsAlgorithm,
  sign: (message: Uint8Array) => Promise<Uint8Array>,
): Promise<string> {
  const header = toBase64Url(utf8(JSON.stringify({ alg: algorithm, typ: 'JWT' })));
  const signed = `${header}.${toBase64Url(payload)}`;
  return `${signed}.${toBase64Url(await sign(utf8(signed)))}`;
}
