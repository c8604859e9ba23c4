/**
 * The crypto seam: signature schemes and digests that are verified, on Node and in browsers alike.
 */

import type { HashName } from '../digest.ts';

/**
 * A signature scheme. `encoding` of ECDSA signatures: `p1363` is r‖s at the curve's length, `der`
 * is SEQUENCE { r, s }. `saltLength` of RSA-PSS in bytes; MGF1 uses the same hash.
 */
export type SignatureScheme =
  | { readonly kind: 'ecdsa'; readonly hash: HashName; readonly encoding: 'p1363' | 'der' }
  | { readonly kind: 'rsa-pss'; readonly hash: HashName; readonly saltLength: number }
  | { readonly kind: 'rsassa'; readonly hash: HashName }
  | { readonly kind: 'ed25519' | 'ml-dsa-44' };

/** A public key read once and used for many verifications. Opaque to callers. */
export interface VerificationKey {
  /** SubjectPublicKeyInfo, DER, as imported. */
  readonly spki: Uint8Array;
  /** `rsa-oaep` decrypts only: under such a key no signature verifies. */
  readonly type: 'rsa' | 'rsa-oaep' | 'ec' | 'ed25519' | 'ml-dsa-44';
  /** `P-256`, `P-384` or `P-521` if the type is `ec`. */
  readonly curve?: string;
  /** Modulus length in bits if the type is `rsa` or `rsa-oaep`. */
  readonly bits?: number;
}

/** The seam: two implementations, chosen by the package's `#crypto` import condition. */
export interface CryptoSeam {
  /**
   * Reads a DER SubjectPublicKeyInfo.
   * @throws DecodeError `syntax` if it is not a key the seam knows; `version` for ML-DSA-44 in a
   * browser whose WebCrypto lacks it.
   */
  importKey(spki: Uint8Array): Promise<VerificationKey>;
  /**
   * Whether `signature` over `message` verifies. A malformed signature or a key of another kind
   * gives false, never a throw.
   */
  verifySignature(
    scheme: SignatureScheme,
    key: VerificationKey,
    message: Uint8Array,
    signature: Uint8Array,
  ): Promise<boolean>;
  /** Digest of a large input, off the main path if the platform can. */
  digest(name: HashName, bytes: Uint8Array): Promise<Uint8Array>;
  /** Cryptographically random bytes. */
  randomBytes(length: number): Uint8Array;
}
