/** The crypto seam over node:crypto. */

import {
  constants,
  createPublicKey,
  type KeyObject,
  hash as nodeHash,
  randomBytes as nodeRandomBytes,
  verify,
} from 'node:crypto';
import type { HashName } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import type { SignatureScheme, VerificationKey } from './scheme.ts';

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

interface NodeKey extends VerificationKey {
  readonly object: KeyObject;
}

export async function importKey(spki: Uint8Array): Promise<VerificationKey> {
  let object: KeyObject;
  try {
    object = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new DecodeError('syntax', 'not a SubjectPublicKeyInfo', 0, { cause });
  }
  const details = object.asymmetricKeyDetails ?? {};
  switch (object.asymmetricKeyType) {
    case 'rsa':
      return keyOf({ spki, type: 'rsa', bits: details.modulusLength ?? 0, object });
    case 'ec': {
      const curve = CURVES[details.namedCurve ?? ''];
      if (curve === undefined)
        throw new DecodeError('syntax', `curve ${details.namedCurve} is not one of P-256, P-384, P-521`, 0);
      return keyOf({ spki, type: 'ec', curve, object });
    }
    case 'ed25519':
      return keyOf({ spki, type: 'ed25519', object });
    case 'ml-dsa-44':
      return keyOf({ spki, type: 'ml-dsa-44', object });
    default:
      throw new DecodeError(
        'syntax',
        `key type ${object.asymmetricKeyType} is not one of rsa, ec, ed25519, ml-dsa-44`,
        0,
      );
  }
}

export async function verifySignature(
  scheme: SignatureScheme,
  key: VerificationKey,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const { object } = key as NodeKey;
  try {
    switch (scheme.kind) {
      case 'ecdsa': {
        if (key.type !== 'ec') return false;
        const dsaEncoding = scheme.encoding === 'der' ? 'der' : 'ieee-p1363';
        return verify(scheme.hash, message, { key: object, dsaEncoding }, signature);
      }
      case 'rsa-pss': {
        if (key.type !== 'rsa') return false;
        const padding = constants.RSA_PKCS1_PSS_PADDING;
        return verify(scheme.hash, message, { key: object, padding, saltLength: scheme.saltLength }, signature);
      }
      case 'rsassa':
        if (key.type !== 'rsa') return false;
        return verify(scheme.hash, message, { key: object, padding: constants.RSA_PKCS1_PADDING }, signature);
      case 'ed25519':
      case 'ml-dsa-44':
        return key.type === scheme.kind && verify(null, message, object, signature);
    }
  } catch {
    return false;
  }
}

export async function digest(name: HashName, bytes: Uint8Array): Promise<Uint8Array> {
  return nodeHash(name, bytes, 'buffer');
}

export function randomBytes(length: number): Uint8Array {
  return nodeRandomBytes(length);
}

function keyOf(key: NodeKey): VerificationKey {
  return key;
}
