/**
 * AlgorithmIdentifier of signatures (RFC 5480, RFC 4055, RFC 8410), as far as attestation uses
 * them.
 */

import { concat, fromHex } from '../bytes.ts';
import type { SignatureScheme } from '../crypto/scheme.ts';
import type { HashName } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { contextTag, DerReader, encodeElement, soleElement, TAG } from './der.ts';

/** AlgorithmIdentifier of rsaEncryption, with its NULL. */
const RSA_ENCRYPTION = fromHex('300d06092a864886f70d0101010500');
const RSAES_OAEP = '1.2.840.113549.1.1.7';

/**
 * Rewrites the SubjectPublicKeyInfo of an RSA key that is certified for RSAES-OAEP alone (RFC 4055,
 * section 4) as one of rsaEncryption, which cryptographic libraries read; undefined for any other
 * key. Makers of TPMs certify endorsement keys so. The parameters that are dropped restrict only
 * how to encrypt, which the TPM's own template says.
 * @throws DecodeError
 */
export function plainRsaKey(spki: Uint8Array): Uint8Array | undefined {
  const reader = DerReader.inside(soleElement(spki, TAG.sequence, 'subjectPublicKeyInfo'));
  if (reader.sequence('key algorithm').oid('key algorithm') !== RSAES_OAEP) return undefined;
  const key = reader.next(TAG.bitString, 'subjectPublicKey').der;
  reader.end('subjectPublicKeyInfo');
  return encodeElement(TAG.sequence, concat(RSA_ENCRYPTION, key));
}

/** Signature algorithms by object identifier. SHA-1 is not among them. */
const SCHEMES: Readonly<Record<string, SignatureScheme>> = {
  '1.2.840.10045.4.3.2': { kind: 'ecdsa', hash: 'sha256', encoding: 'der' },
  '1.2.840.10045.4.3.3': { kind: 'ecdsa', hash: 'sha384', encoding: 'der' },
  '1.2.840.10045.4.3.4': { kind: 'ecdsa', hash: 'sha512', encoding: 'der' },
  '1.2.840.113549.1.1.11': { kind: 'rsassa', hash: 'sha256' },
  '1.2.840.113549.1.1.12': { kind: 'rsassa', hash: 'sha384' },
  '1.2.840.113549.1.1.13': { kind: 'rsassa', hash: 'sha512' },
  '1.3.101.112': { kind: 'ed25519' },
};

const RSASSA_PSS = '1.2.840.113549.1.1.10';
const MGF1 = '1.2.840.113549.1.1.8';

const HASHES: Readonly<Record<string, HashName>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
};

/**
 * Reads the AlgorithmIdentifier inside `reader`.
 * @throws DecodeError `version` for an algorithm that is not in the tables, `syntax` for parameters
 * that do not fit.
 */
export function readSignatureScheme(reader: DerReader): SignatureScheme {
  const oid = reader.oid('signature algorithm');
  if (oid === RSASSA_PSS) return readPss(reader);
  const scheme = SCHEMES[oid];
  if (scheme === undefined) throw new DecodeError('version', `signature algorithm ${oid} is not known`, 0);
  // RFC 4055 section 5: RSASSA has NULL parameters; ECDSA and Ed25519 have none.
  if (scheme.kind === 'rsassa') emptyNull(reader);
  reader.end('signature algorithm');
  return scheme;
}

/**
 * RSASSA-PSS-params (RFC 4055 section 3.1). The defaults are SHA-1, so all but the trailer must be
 * there.
 */
function readPss(reader: DerReader): SignatureScheme {
  const params = reader.sequence('RSASSA-PSS parameters');
  reader.end('signature algorithm');
  const hash = readHash(params.sequence('hash algorithm', contextTag(0)));
  const mgf = params.sequence('mask generation', contextTag(1)).sequence('mask generation');
  if (mgf.oid('mask generation') !== MGF1 || readHash(mgf) !== hash) {
    throw new DecodeError('version', 'mask generation is not MGF1 over the signature hash', 0);
  }
  const saltLength = params.sequence('salt length', contextTag(2)).smallInteger('salt length');
  // AMD writes the default trailer out, which DER forbids; it has one value all the same.
  if (params.has(contextTag(3))) {
    const trailer = params.sequence('trailer', contextTag(3)).smallInteger('trailer');
    if (trailer !== 1) throw new DecodeError('version', `trailer field ${trailer}`, 0);
  }
  params.end('RSASSA-PSS parameters');
  return { kind: 'rsa-pss', hash, saltLength };
}

function readHash(outer: DerReader): HashName {
  const reader = outer.sequence('hash algorithm');
  outer.end('hash algorithm');
  const oid = reader.oid('hash algorithm');
  const hash = HASHES[oid];
  if (hash === undefined) throw new DecodeError('version', `hash algorithm ${oid} is not known`, 0);
  if (!reader.empty) emptyNull(reader);
  reader.end('hash algorithm');
  return hash;
}

function emptyNull(reader: DerReader): void {
  const { body, at } = reader.next(TAG.null, 'algorithm parameters');
  if (body.length > 0) throw new DecodeError('syntax', 'NULL with contents', at);
}
