/**
 * TPMT_PUBLIC: the public area of a TPM key, its name, and its SubjectPublicKeyInfo (Part 2, 12.2;
 * Part 1, 16).
 */

import { concat } from '../bytes.ts';
import { type HashName, hash } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { encodeElement } from '../x509/der.ts';
import {
  ALG_NULL,
  CURVE_LENGTH,
  type CurveName,
  curveId,
  hashId,
  MAX_COORDINATE,
  MAX_DIGEST,
  MAX_RSA,
} from './algorithm.ts';
import { among, type Codec, decodeWhole, flags, named, struct, tagged, tpm2b, u16, u32 } from './wire.ts';

/** TPMA_OBJECT, bit by name (Part 2, 8.3). */
const OBJECT_ATTRIBUTES = {
  fixedTPM: 1,
  stClear: 2,
  fixedParent: 4,
  sensitiveDataOrigin: 5,
  userWithAuth: 6,
  adminWithPolicy: 7,
  noDA: 10,
  encryptedDuplication: 11,
  restricted: 16,
  decrypt: 17,
  sign: 18,
} as const;

export type ObjectAttribute = keyof typeof OBJECT_ATTRIBUTES;

/** TPMT_SYM_DEF: how a storage key protects its children, or a session its parameters. */
export type Symmetric =
  | { readonly algorithm: 'none' }
  | { readonly algorithm: 'aes'; readonly keyBits: 128 | 192 | 256; readonly mode: 'cfb' };

/** TPMT_RSA_SCHEME and TPMT_ECC_SCHEME: the one scheme that a key is bound to, or `none`. */
export type RsaScheme = { readonly scheme: 'none' } | { readonly scheme: 'rsassa' | 'rsapss'; readonly hash: HashName };
export type EccScheme = { readonly scheme: 'none' } | { readonly scheme: 'ecdsa'; readonly hash: HashName };

interface Common {
  /** Hash of the object's name and of its policies. */
  readonly nameAlg: HashName;
  readonly attributes: readonly ObjectAttribute[];
  /** Policy digest under `nameAlg`; empty if there is none. */
  readonly authPolicy: Uint8Array;
}

export interface RsaPublic extends Common {
  readonly type: 'rsa';
  readonly symmetric: Symmetric;
  readonly scheme: RsaScheme;
  readonly keyBits: number;
  /** 0 stands for 65537. */
  readonly exponent: number;
  /** Big-endian; all zero or empty in a template. */
  readonly modulus: Uint8Array;
}

export interface EccPublic extends Common {
  readonly type: 'ecc';
  readonly symmetric: Symmetric;
  readonly scheme: EccScheme;
  readonly curve: CurveName;
  readonly kdf: 'none';
  /** Big-endian; all zero or empty in a template. */
  readonly x: Uint8Array;
  readonly y: Uint8Array;
}

/** A sealed data object. */
export interface SealedPublic extends Common {
  readonly type: 'keyedhash';
  readonly scheme: 'none';
  readonly unique: Uint8Array;
}

export type TpmPublic = RsaPublic | EccPublic | SealedPublic;

const none = struct<object>({});
const withHash = struct<{ readonly hash: HashName }>({ hash: hashId });
const nullOnly: Codec<'none'> = named(u16, { none: ALG_NULL });
const common = { nameAlg: hashId, attributes: flags(OBJECT_ATTRIBUTES), authPolicy: tpm2b(MAX_DIGEST) };
export const symmetric: Codec<Symmetric> = tagged('algorithm', {
  none: [ALG_NULL, none],
  aes: [0x06, struct({ keyBits: among(u16, 128, 192, 256), mode: named(u16, { cfb: 0x43 }) })],
});
const rsaScheme: Codec<RsaScheme> = tagged('scheme', {
  none: [ALG_NULL, none],
  rsassa: [0x14, withHash],
  rsapss: [0x16, withHash],
});
const eccScheme: Codec<EccScheme> = tagged('scheme', { none: [ALG_NULL, none], ecdsa: [0x18, withHash] });

/** TPMT_PUBLIC of the three types that are used here. */
export const tpmPublic: Codec<TpmPublic> = tagged('type', {
  rsa: [
    0x01,
    struct({ ...common, symmetric, scheme: rsaScheme, keyBits: u16, exponent: u32, modulus: tpm2b(MAX_RSA) }),
  ],
  ecc: [
    0x23,
    struct({
      ...common,
      symmetric,
      scheme: eccScheme,
      curve: curveId,
      kdf: nullOnly,
      x: tpm2b(MAX_COORDINATE),
      y: tpm2b(MAX_COORDINATE),
    }),
  ],
  keyedhash: [0x08, struct({ ...common, scheme: nullOnly, unique: tpm2b(MAX_DIGEST) })],
});

/** The key in TPMT_PUBLIC bytes. @throws DecodeError */
export function parsePublic(bytes: Uint8Array): TpmPublic {
  return decodeWhole(tpmPublic, bytes, 'TPMT_PUBLIC');
}

/** TPMT_PUBLIC bytes; the inverse of `parsePublic`. */
export function encodePublic(value: TpmPublic): Uint8Array {
  return tpmPublic.encode(value);
}

/**
 * The object's name: nameAlg ‖ H(TPMT_PUBLIC). It commits to key, attributes and policy (Part 1,
 * 16).
 */
export function nameOf(value: TpmPublic): Uint8Array {
  return concat(hashId.encode(value.nameAlg), hash(value.nameAlg, encodePublic(value)));
}

/** Permanent handles of the hierarchies, under which primary keys live. */
export const HIERARCHY = {
  owner: 0x4000_0001,
  endorsement: 0x4000_000b,
  platform: 0x4000_000c,
  null: 0x4000_0007,
} as const;
export type Hierarchy = keyof typeof HIERARCHY;

/**
 * The qualified name of a primary key: nameAlg ‖ H(handle of its hierarchy ‖ name). A TPM puts it
 * into what it signs.
 */
export function qualifiedNameOfPrimary(value: TpmPublic, hierarchy: Hierarchy): Uint8Array {
  const parts = concat(u32.encode(HIERARCHY[hierarchy]), nameOf(value));
  return concat(hashId.encode(value.nameAlg), hash(value.nameAlg, parts));
}

/** Whether all attributes of `set` are set, and none of `clear`. */
export function hasAttributes(
  value: TpmPublic,
  set: readonly ObjectAttribute[],
  clear: readonly ObjectAttribute[],
): boolean {
  return set.every((name) => value.attributes.includes(name)) && !clear.some((name) => value.attributes.includes(name));
}

const RSA_ENCRYPTION = Uint8Array.of(0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0);
const EC_PUBLIC_KEY = Uint8Array.of(0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1);
const CURVE_OID: Readonly<Record<CurveName, Uint8Array>> = {
  'P-256': Uint8Array.of(0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7),
  'P-384': Uint8Array.of(0x06, 5, 0x2b, 0x81, 4, 0, 0x22),
};

/**
 * The key as DER SubjectPublicKeyInfo (RFC 5280, RFC 5480, RFC 8017). The crypto seam checks on
 * import that a point is on its curve.
 * @throws DecodeError `range` for a sealed object, a modulus of another length than `keyBits`, an
 * exponent other than 65537, or coordinates longer than the curve's.
 */
export function spkiOf(value: TpmPublic): Uint8Array {
  switch (value.type) {
    case 'rsa': {
      if (value.modulus.length * 8 !== value.keyBits || (value.modulus[0] ?? 0) < 0x80) {
        throw new DecodeError('range', `modulus is not of ${value.keyBits} bits`, 0);
      }
      if (value.exponent !== 0 && value.exponent !== 65_537) {
        throw new DecodeError('range', `exponent is ${value.exponent}, not 65537`, 0);
      }
      const modulus = encodeElement(0x02, concat(Uint8Array.of(0), value.modulus));
      return subjectPublicKeyInfo(
        RSA_ENCRYPTION,
        encodeElement(0x30, concat(modulus, encodeElement(0x02, Uint8Array.of(1, 0, 1)))),
      );
    }
    case 'ecc': {
      const length = CURVE_LENGTH[value.curve];
      const point = concat(Uint8Array.of(4), leftPad(value.x, length), leftPad(value.y, length));
      return subjectPublicKeyInfo(concat(EC_PUBLIC_KEY, CURVE_OID[value.curve]), point);
    }
    case 'keyedhash':
      throw new DecodeError('range', 'a sealed object has no public key', 0);
  }
}

/**
 * `bytes` with zeros before them, up to `length`. TPMs differ in whether they keep leading zeros.
 * @throws DecodeError `range`
 */
export function leftPad(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length > length) throw new DecodeError('range', `${bytes.length} bytes where at most ${length} fit`, 0);
  const out = new Uint8Array(length);
  out.set(bytes, length - bytes.length);
  return out;
}

function subjectPublicKeyInfo(algorithm: Uint8Array, key: Uint8Array): Uint8Array {
  return encodeElement(
    0x30,
    concat(encodeElement(0x30, algorithm), encodeElement(0x03, concat(Uint8Array.of(0), key))),
  );
}
