/** TPMT_SIGNATURE: RSASSA, RSA-PSS and ECDSA, and how each is verified (Part 2, 11.3). */

import { verifySignature } from '#crypto';
import { concat } from '../bytes.ts';
import type { VerificationKey } from '../crypto/scheme.ts';
import { HASH_LENGTH, type HashName } from '../digest.ts';
import { hashId, MAX_COORDINATE, MAX_RSA } from './algorithm.ts';
import { leftPad } from './public-area.ts';
import { type Codec, decodeWhole, struct, tagged, tpm2b } from './wire.ts';

export interface RsaSignature {
  readonly scheme: 'rsassa' | 'rsapss';
  readonly hash: HashName;
  readonly signature: Uint8Array;
}

export interface EcdsaSignature {
  readonly scheme: 'ecdsa';
  readonly hash: HashName;
  /** Big-endian, with or without leading zeros. */
  readonly r: Uint8Array;
  readonly s: Uint8Array;
}

export type TpmSignature = RsaSignature | EcdsaSignature;

const rsa = struct({ hash: hashId, signature: tpm2b(MAX_RSA) });

/** TPMT_SIGNATURE of the schemes that attestation keys use. */
export const tpmSignature: Codec<TpmSignature> = tagged('scheme', {
  rsassa: [0x14, rsa],
  rsapss: [0x16, rsa],
  ecdsa: [0x18, struct({ hash: hashId, r: tpm2b(MAX_COORDINATE), s: tpm2b(MAX_COORDINATE) })],
});

/** The signature in TPMT_SIGNATURE bytes. @throws DecodeError */
export function parseSignature(bytes: Uint8Array): TpmSignature {
  return decodeWhole(tpmSignature, bytes, 'TPMT_SIGNATURE');
}

const COORDINATE_LENGTH: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48 };

/**
 * Whether the signature over `message` verifies under `key`. SHA-1 never does: it is not
 * collision-resistant.
 */
export async function verifyTpmSignature(
  signature: TpmSignature,
  key: VerificationKey,
  message: Uint8Array,
): Promise<boolean> {
  const { hash } = signature;
  if (hash === 'sha1') return false;
  switch (signature.scheme) {
    case 'ecdsa': {
      const length = COORDINATE_LENGTH[key.curve ?? ''] ?? 0;
      if (signature.r.length > length || signature.s.length > length) return false;
      const raw = concat(leftPad(signature.r, length), leftPad(signature.s, length));
      return verifySignature({ kind: 'ecdsa', hash, encoding: 'p1363' }, key, message, raw);
    }
    case 'rsassa':
      return verifySignature({ kind: 'rsassa', hash }, key, message, signature.signature);
    case 'rsapss':
      // Part 1, B.7: the salt is as long as the hash in FIPS mode, and as long as the key has room
      // for elsewhere.
      for (const saltLength of [HASH_LENGTH[hash], Math.ceil(((key.bits ?? 0) - 1) / 8) - HASH_LENGTH[hash] - 2]) {
        const scheme = { kind: 'rsa-pss', hash, saltLength } as const;
        if (await verifySignature(scheme, key, message, signature.signature)) return true;
      }
      return false;
  }
}
