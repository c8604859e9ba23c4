/**
 * A self-signed X.509 v3 certificate for the TLS key (RFC 5280). It carries the key; no verifier
 * trusts it by itself.
 */

import { type KeyObject, sign } from 'node:crypto';
import { concat, utf8 } from '@enclaim/attestation/bytes';

/** ecdsa-with-SHA256, RFC 5758 section 3.2. */
const ECDSA_SHA256 = sequence(oid(0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2));
const COMMON_NAME = oid(0x55, 4, 3);
/**
 * Validity of a certificate without an end (RFC 5280, section 4.1.2.5). The quote shows freshness.
 */
const VALIDITY = sequence(der(0x17, utf8('700101000000Z')), der(0x18, utf8('99991231235959Z')));

/**
 * subjectAltName (RFC 5280, 4.2.1.6). No client of ours reads a name, because evidence shows which
 * system answers. Libraries that demand a name are given `enclaim`, and `localhost` behind a
 * tunnel.
 */
const ALTERNATIVE_NAME = oid(0x55, 0x1d, 0x11);
const NAMES = ['enclaim', 'localhost'];

/** tcg-dice-conceptual-message-wrapper, 2.23.133.5.4.9 (TCG DICE Attestation Architecture). */
const DICE_WRAPPER = oid(0x67, 0x81, 0x05, 5, 4, 9);
/** Type of the wrapped message: an `enclaim.v1.Evidence`. */
const EVIDENCE_TYPE = utf8('application/vnd.enclaim.evidence');

/**
 * A certificate of DER bytes.
 * @param key P-256 private key
 * @param spki its SubjectPublicKeyInfo, DER
 * @param serial 16 random bytes
 * @param evidence carried in a non-critical extension for tools that read it, at most 60 000 bytes
 */
export function selfSignedCertificate(
  key: KeyObject,
  spki: Uint8Array,
  serial: Uint8Array,
  evidence?: Uint8Array,
): Uint8Array {
  const name = sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, utf8('enclaim')))));
  const version = der(0xa0, der(0x02, Uint8Array.of(2)));
  // A leading 0x01 keeps the integer positive and of one length.
  const number = der(0x02, concat(Uint8Array.of(1), serial));
  const dice = evidence === undefined ? [] : [diceExtension(evidence)];
  const extensions = der(0xa3, sequence(sequence(ALTERNATIVE_NAME, der(0x04, names())), ...dice));
  const body = sequence(version, number, ECDSA_SHA256, name, VALIDITY, name, spki, extensions);
  const signature = sign('sha256', body, { key, dsaEncoding: 'der' });
  return sequence(body, ECDSA_SHA256, der(0x03, concat(Uint8Array.of(0), signature)));
}

/** DNS names, each as [2] IMPLICIT IA5String. */
function names(): Uint8Array {
  return sequence(...NAMES.map((name) => der(0x82, utf8(name))));
}

/**
 * The wrapper in its CBOR form: an array of type and value, in an OCTET STRING inside the
 * extension's OCTET STRING.
 */
function diceExtension(evidence: Uint8Array): Uint8Array {
  const { length } = evidence;
  const type = concat(Uint8Array.of(0x78, EVIDENCE_TYPE.length), EVIDENCE_TYPE);
  const value = concat(Uint8Array.of(0x59, length >> 8, length & 0xff), evidence);
  const wrapper = concat(Uint8Array.of(0x82), type, value);
  return sequence(DICE_WRAPPER, der(0x04, der(0x04, wrapper)));
}

/** A certificate's PEM text. */
export function certificatePem(certificate: Uint8Array): string {
  const lines =
    Buffer.from(certificate)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n');
}

function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return der(0x30, concat(...parts));
}

function oid(...bytes: readonly number[]): Uint8Array {
  return der(0x06, Uint8Array.of(...bytes));
}

/** Tag, length, content; lengths up to 65535. */
function der(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(tag, ...size), content);
}
