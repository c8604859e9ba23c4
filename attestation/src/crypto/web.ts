/** The crypto seam over WebCrypto, for browsers. */

import { equalBytes, fromBase64Url, fromHex, Reader } from '../bytes.ts';
import type { HashName } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import type { SignatureScheme, VerificationKey } from './scheme.ts';

const WEB_HASH: Readonly<Record<HashName, string>> = {
  sha1: 'SHA-1',
  sha256: 'SHA-256',
  sha384: 'SHA-384',
  sha512: 'SHA-512',
};
/** SubjectPublicKeyInfo of an ML-DSA-44 key (RFC 9881), up to the key. */
const ML_DSA_44_PREFIX = fromHex('30820532300b06096086480165030403110382052100');
const CURVE_BYTES: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };

interface WebKey extends VerificationKey {
  /** WebCrypto binds a key to one use; a use is imported when first asked for. */
  readonly uses: Map<string, CryptoKey>;
}

export async function importKey(spki: Uint8Array): Promise<VerificationKey> {
  if (equalBytes(spki.subarray(0, ML_DSA_44_PREFIX.length), ML_DSA_44_PREFIX)) return importMlDsa(spki);
  for (const curve of ['P-256', 'P-384', 'P-521']) {
    const key = await tryImport(spki, { name: 'ECDSA', namedCurve: curve });
    if (key !== undefined) return keyOf({ spki, type: 'ec', curve, uses: new Map([['ECDSA', key]]) });
  }
  const ed = await tryImport(spki, { name: 'Ed25519' });
  if (ed !== undefined) return keyOf({ spki, type: 'ed25519', uses: new Map([['Ed25519', ed]]) });
  const rsa = await tryImport(spki, { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' });
  if (rsa !== undefined) {
    const { n } = await crypto.subtle.exportKey('jwk', rsa);
    const bits = n === undefined ? 0 : bitLength(fromBase64Url(n));
    return keyOf({ spki, type: 'rsa', bits, uses: new Map([['RSASSA-PKCS1-v1_5 SHA-256', rsa]]) });
  }
  throw new DecodeError('syntax', 'not a SubjectPublicKeyInfo of rsa, ec or ed25519', 0);
}

export async function verifySignature(
  scheme: SignatureScheme,
  key: VerificationKey,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  try {
    switch (scheme.kind) {
      case 'ecdsa': {
        const length = CURVE_BYTES[key.curve ?? ''];
        if (key.type !== 'ec' || length === undefined) return false;
        const raw = scheme.encoding === 'der' ? rawFromDer(signature, length) : signature;
        if (raw === undefined || raw.length !== 2 * length) return false;
        const use = await useOf(key, 'ECDSA', { name: 'ECDSA', namedCurve: key.curve ?? '' });
        return await crypto.subtle.verify(
          { name: 'ECDSA', hash: WEB_HASH[scheme.hash] },
          use,
          view(raw),
          view(message),
        );
      }
      case 'rsa-pss':
      case 'rsassa': {
        if (key.type !== 'rsa') return false;
        const name = scheme.kind === 'rsassa' ? 'RSASSA-PKCS1-v1_5' : 'RSA-PSS';
        const use = await useOf(key, `${name} ${WEB_HASH[scheme.hash]}`, { name, hash: WEB_HASH[scheme.hash] });
        const algorithm = scheme.kind === 'rsassa' ? { name } : { name, saltLength: scheme.saltLength };
        return await crypto.subtle.verify(algorithm, use, view(signature), view(message));
      }
      case 'ed25519':
      case 'ml-dsa-44': {
        if (key.type !== scheme.kind) return false;
        const name = scheme.kind === 'ed25519' ? 'Ed25519' : 'ML-DSA-44';
        const use = await useOf(key, name, { name });
        return await crypto.subtle.verify({ name }, use, view(signature), view(message));
      }
    }
  } catch {
    return false;
  }
}

export async function digest(name: HashName, bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest(WEB_HASH[name], view(bytes)));
}

export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** A browser without ML-DSA-44 says so: a signature that was not verified is never passed. */
async function importMlDsa(spki: Uint8Array): Promise<VerificationKey> {
  const key = await tryImport(spki, { name: 'ML-DSA-44' });
  if (key === undefined) throw new DecodeError('version', 'ML-DSA-44 is not supported here', 0);
  return keyOf({ spki, type: 'ml-dsa-44', uses: new Map([['ML-DSA-44', key]]) });
}

function keyOf(key: WebKey): VerificationKey {
  return key;
}

type ImportAlgorithm = { name: string; namedCurve?: string; hash?: string };

async function tryImport(spki: Uint8Array, algorithm: ImportAlgorithm): Promise<CryptoKey | undefined> {
  try {
    return await crypto.subtle.importKey('spki', view(spki), algorithm, true, ['verify']);
  } catch {
    return undefined;
  }
}

async function useOf(key: VerificationKey, name: string, algorithm: ImportAlgorithm): Promise<CryptoKey> {
  const { uses } = key as WebKey;
  const known = uses.get(name);
  if (known !== undefined) return known;
  const use = await crypto.subtle.importKey('spki', view(key.spki), algorithm, true, ['verify']);
  uses.set(name, use);
  return use;
}

/**
 * r‖s of a DER ECDSA signature, or undefined if it is not strict DER of two positive integers that
 * fit.
 */
function rawFromDer(signature: Uint8Array, length: number): Uint8Array | undefined {
  const reader = new Reader(signature);
  const out = new Uint8Array(2 * length);
  if (reader.u8() !== 0x30) return undefined;
  let size = reader.u8();
  if (size === 0x81) {
    size = reader.u8();
    if (size < 0x80) return undefined;
  } else if (size > 0x80) return undefined;
  if (size !== reader.left) return undefined;
  for (const end of [length, 2 * length]) {
    if (reader.u8() !== 0x02) return undefined;
    const integer = reader.take(reader.u8());
    const [first = 0x80, second = 0] = integer;
    if (first >= 0x80 || (first === 0 && integer.length > 1 && second < 0x80)) return undefined;
    const value = first === 0 ? integer.subarray(1) : integer;
    if (value.length > length) return undefined;
    out.set(value, end - value.length);
  }
  return reader.left === 0 ? out : undefined;
}

function bitLength(bytes: Uint8Array): number {
  const first = bytes.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : (bytes.length - first) * 8 - Math.clz32(bytes[first] ?? 0) + 24;
}

/** TypeScript's WebCrypto types want bytes that are not over a SharedArrayBuffer. */
function view(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}
