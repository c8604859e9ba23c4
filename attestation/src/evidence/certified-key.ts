/**
 * Attestation keys that a certificate vouches for: what it must say, and who must have signed it.
 */

import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { parsePart } from '../parse-part.ts';
import {
  extendedKeyUsages,
  KEY_USAGE,
  type Pin,
  parseCertificateOnce,
  type VerifiedChain,
  verifyChain,
} from '../x509/index.ts';

/**
 * tcg-kp-AIKCertificate: the issuer found the key to be a restricted signing key of a TPM (TCG AK
 * Certificate Profile).
 */
export const AK_CERTIFICATE = '2.23.133.8.3';
/**
 * tcg-kp-EKCertificate (TCG EK Credential Profile). GCE writes it into certificates of attestation
 * keys as well.
 */
export const EK_CERTIFICATE = '2.23.133.8.1';

/**
 * Uses that an attestation key cannot have: a restricted signing key neither decrypts nor
 * certifies.
 */
const FOREIGN = KEY_USAGE.keyEncipherment | KEY_USAGE.keyAgreement | KEY_USAGE.certificateSign | KEY_USAGE.crlSign;

/**
 * Verifies the certificate of an attestation key.
 *
 * **Trust**: a certificate does not show a key's attributes. It is the issuer's word that the key
 * is restricted, and so signs no quote but the TPM's own. The issuer gives it by `purposes`.
 * @param certificates DER: the key's, then those up to the root
 * @param purposes extended key usages of which one must be there
 * @param options.now milliseconds since 1970
 * @throws EvidenceError `chain`, `validity`, `key`
 */
export async function verifyKeyCertificate(
  certificates: readonly Uint8Array[],
  purposes: readonly string[],
  pins: readonly Pin[],
  options: Moment,
): Promise<VerifiedChain> {
  const [leaf, ...others] = certificates.map((der) =>
    parsePart('chain', 'certificate of the attestation key', der, parseCertificateOnce),
  );
  if (leaf === undefined) throw new EvidenceError('chain', 'the attestation key has no certificate');
  const chain = await verifyChain(leaf, others, pins, options);
  const usages = parsePart('chain', 'certificate of the attestation key', leaf, extendedKeyUsages);
  const usage = leaf.keyUsage ?? 0;
  const signs = (usage & KEY_USAGE.digitalSignature) !== 0 && (usage & FOREIGN) === 0;
  if (!signs || leaf.ca !== undefined || !usages.some((one) => purposes.includes(one))) {
    throw new EvidenceError(
      'key',
      `not a certificate of an attestation key: for ${usages.join(', ') || 'no named use'}`,
    );
  }
  return chain;
}
