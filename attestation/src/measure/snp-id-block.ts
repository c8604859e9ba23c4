/**
 * The ID block that a guest's owner signs, and the digests of the keys that reports show (AMD
 * 56860, tables 76 and 77).
 */

import { concat } from '../bytes.ts';
import { type Sha384, sha384 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { DerReader, soleElement, TAG } from '../x509/der.ts';

/** The fields of an ID block. */
export interface IdBlock {
  /** Launch digest that the guest must have, 48 bytes. */
  readonly launchDigest: Uint8Array;
  /** 16 bytes each. */
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  readonly guestSvn: number;
  readonly policy: bigint;
}

const VERSION = 1;
const CURVE_P384 = 2;
const COORDINATE = 48;
/** Curve (4), then each coordinate in 72 bytes, little-endian, then zeros. */
const PUBLIC_KEY_LENGTH = 1028;
const COORDINATE_FIELD = 72;

/** The 96 bytes that the ID key signs. @throws DecodeError `range` for fields of another length. */
export function encodeIdBlock({ launchDigest, familyId, imageId, guestSvn, policy }: IdBlock): Uint8Array {
  if (launchDigest.length !== 48 || familyId.length !== 16 || imageId.length !== 16) {
    throw new DecodeError('range', 'ID block fields are 48, 16 and 16 bytes', 0);
  }
  const tail = new DataView(new ArrayBuffer(16));
  tail.setUint32(0, VERSION, true);
  tail.setUint32(4, guestSvn, true);
  tail.setBigUint64(8, policy, true);
  return concat(launchDigest, familyId, imageId, new Uint8Array(tail.buffer));
}

/**
 * ID_KEY_DIGEST or AUTHOR_KEY_DIGEST of a P-384 key.
 * @param spki SubjectPublicKeyInfo, DER.
 * @throws DecodeError
 */
export function snpKeyDigest(spki: Uint8Array): Sha384 {
  const reader = DerReader.inside(soleElement(spki, TAG.sequence, 'public key'));
  const algorithm = reader.sequence('algorithm');
  const point = reader.octetsOfBits('point');
  reader.end('public key');
  const ids = [algorithm.oid('algorithm'), algorithm.oid('curve')];
  if (ids.join() !== '1.2.840.10045.2.1,1.3.132.0.34' || point.length !== 1 + 2 * COORDINATE || point[0] !== 4) {
    throw new DecodeError('version', 'not an uncompressed P-384 public key', 0);
  }
  const key = new Uint8Array(PUBLIC_KEY_LENGTH);
  key[0] = CURVE_P384;
  key.set(point.slice(1, 1 + COORDINATE).reverse(), 4);
  key.set(point.slice(1 + COORDINATE).reverse(), 4 + COORDINATE_FIELD);
  return sha384(key);
}
