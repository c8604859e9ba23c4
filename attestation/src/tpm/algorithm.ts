/**
 * TPM_ALG_ID and the constants that name keys (Part 2, table 9; TCG Algorithm Registry rev 1.34).
 */

import type { HashName } from '../digest.ts';
import { type Codec, named, u16 } from './wire.ts';

/**
 * Hash algorithms, which also name PCR banks. SM3 and SHA-3 are refused wherever they would have to
 * be computed.
 */
export const HASH_ID: Readonly<Record<HashName, number>> = { sha1: 0x04, sha256: 0x0b, sha384: 0x0c, sha512: 0x0d };

/** TPMI_ALG_HASH. */
export const hashId: Codec<HashName> = named(u16, HASH_ID);

/** TPM_ALG_NULL: "none" in every selector. */
export const ALG_NULL = 0x10;

/** Elliptic curves by the names that the crypto seam uses. */
export type CurveName = 'P-256' | 'P-384';

/** TPM_ECC_CURVE. */
export const curveId: Codec<CurveName> = named(u16, { 'P-256': 3, 'P-384': 4 });

/** Length of a coordinate in bytes. */
export const CURVE_LENGTH: Readonly<Record<CurveName, number>> = { 'P-256': 32, 'P-384': 48 };

/** The largest digest and key parts in bytes; they bound every TPM2B that holds one. */
export const MAX_DIGEST = 64;
/** The largest name in bytes: an algorithm, and a digest by it. */
export const MAX_NAME = 66;
/** The largest RSA modulus in bytes. */
export const MAX_RSA = 512;
/** The largest coordinate of a point in bytes: that of P-521. */
export const MAX_COORDINATE = 66;
