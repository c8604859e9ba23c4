/**
 * Endorsement keys: the attributes without which a credential that is encrypted to a key proves
 * nothing (TCG EK Profile 2.5).
 */

import { EvidenceError } from '../errors.ts';
import { parsePart } from '../parse-part.ts';
import { type EccPublic, hasAttributes, parsePublic, type RsaPublic, type Symmetric } from './public-area.ts';

/** A storage key that only ActivateCredential and its like can use. */
export type EndorsementKey = (RsaPublic | EccPublic) & {
  readonly symmetric: Exclude<Symmetric, { algorithm: 'none' }>;
};

/**
 * The endorsement key in TPMT_PUBLIC bytes.
 *
 * **Trust**: its certificate has to show that a TPM holds it. A key that is not restricted would
 * decrypt any secret for any caller; one that is not fixed may have been copied out of the TPM.
 * @throws EvidenceError `format`, `key`
 */
export function parseEndorsementKey(bytes: Uint8Array): EndorsementKey {
  const key = parsePart('format', 'endorsement key', bytes, parsePublic);
  const fixed = hasAttributes(
    key,
    ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'decrypt'],
    ['sign', 'encryptedDuplication'],
  );
  const weak = key.nameAlg === 'sha1' || (key.type === 'rsa' && key.keyBits < 2048);
  if (!fixed || weak || key.type === 'keyedhash' || key.symmetric.algorithm === 'none') {
    throw new EvidenceError('key', `not an endorsement key: ${key.type}, ${key.attributes.join(', ')}`);
  }
  return { ...key, symmetric: key.symmetric } as EndorsementKey;
}
