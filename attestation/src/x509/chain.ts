/**
 * Certification paths to pinned roots (RFC 5280 section 6, without policies and name constraints)
 * and revocation.
 */

import { verifySignature } from '#crypto';
import { equalBytes } from '../bytes.ts';
import type { VerificationKey } from '../crypto/scheme.ts';
import { type DigestText, digestText, sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { deriveOnce } from '../parse-once.ts';
import { importPart, parsePart } from '../parse-part.ts';
import { plainRsaKey } from './algorithm.ts';
import { type Certificate, EXTENSION, KEY_USAGE } from './certificate.ts';
import type { RevocationList } from './crl.ts';

/** A trust anchor: SHA-256 of a root's certificate (DER) or of its SubjectPublicKeyInfo. */
export type Pin = DigestText<'sha256'>;

/**
 * A path whose every signature, constraint and date has been checked: the leaf first, the pinned
 * root last.
 */
export interface VerifiedChain {
  readonly leaf: Certificate;
  /** Leaf, its issuer, and so on; at least two. */
  readonly path: readonly Certificate[];
  readonly anchor: Certificate;
  /** The pin that the anchor matched. */
  readonly pin: Pin;
  /** The leaf's key, ready to verify with. */
  readonly key: VerificationKey;
}

const MAX_PATH = 8;
const MAX_INTERMEDIATES = 32;
const MIN_RSA_BITS = 2048;
/** The last time that has a date, in milliseconds since 1970 (ECMA-262, 21.4.1.1). */
const LAST_DATE = 8.64e15;

/**
 * Extensions that may be critical. They are read here, or carry nothing that widens what a leaf may
 * do.
 */
const UNDERSTOOD: ReadonlySet<string> = new Set(Object.values(EXTENSION));

/**
 * Finds and verifies the path from `leaf` over `intermediates` to a certificate that `pins` names.
 * The root is one of `intermediates`, so that certificates travel with the evidence and only their
 * digests are trusted beforehand. A leaf is never its own anchor.
 *
 * @param pins Digests of root certificates or root keys. Empty means that nothing is trusted.
 * @param options.now Milliseconds since 1970; every certificate of the path must be valid then.
 * @throws EvidenceError `chain` without such a path, `validity` outside its dates, `format` for
 * keys that do not parse.
 */
export async function verifyChain(
  leaf: Certificate,
  intermediates: readonly Certificate[],
  pins: readonly Pin[],
  options: Moment,
): Promise<VerifiedChain> {
  if (intermediates.length > MAX_INTERMEDIATES) {
    throw new EvidenceError('chain', `${intermediates.length} intermediate certificates, at most ${MAX_INTERMEDIATES}`);
  }
  const path = [leaf];
  refuseUnknownCritical(leaf);
  for (let subject = leaf; ; ) {
    const issuer = await findIssuer(subject, intermediates, path, pins);
    path.push(issuer);
    const pin = pinOf(issuer, pins);
    if (pin !== undefined) {
      await checkAnchor(issuer, pin);
      for (const certificate of path) checkValidity(certificate, options);
      return { leaf, path, anchor: issuer, pin, key: await importCertified(leaf) };
    }
    if (path.length === MAX_PATH) throw new EvidenceError('chain', `path of more than ${MAX_PATH} certificates`);
    subject = issuer;
  }
}

/**
 * The certificate that signed `subject`: named as its issuer, allowed to sign at this height, and
 * whose key verifies.
 */
async function findIssuer(
  subject: Certificate,
  candidates: readonly Certificate[],
  path: readonly Certificate[],
  pins: readonly Pin[],
): Promise<Certificate> {
  const named = candidates.filter((one) => equalBytes(one.subject, subject.issuer) && !path.includes(one));
  // With a pinned root and a cross-signed twin both at hand, the pinned one ends the path.
  const rank = (one: Certificate): number => (pinOf(one, pins) === undefined ? 1 : 0);
  const ordered = named.length < 2 ? named : named.toSorted((a, b) => rank(a) - rank(b));
  let reason = `no certificate of the issuer of ${describe(subject)} among ${candidates.length}`;
  for (const issuer of ordered) {
    const refusal = await refusalOf(issuer, subject, path.length - 1);
    if (refusal === undefined) return issuer;
    reason = `${describe(issuer)} did not issue ${describe(subject)}: ${refusal}`;
  }
  throw new EvidenceError('chain', reason);
}

async function refusalOf(issuer: Certificate, subject: Certificate, below: number): Promise<string | undefined> {
  if (issuer.ca === undefined) return 'not a CA';
  if (issuer.ca.pathLength !== undefined && issuer.ca.pathLength < below) return 'path length exceeded';
  if (issuer.keyUsage !== undefined && !(issuer.keyUsage & KEY_USAGE.certificateSign))
    return 'may not sign certificates';
  const unknown = unknownCritical(issuer);
  if (unknown !== undefined) return `critical extension ${unknown} is not known`;
  const { authorityKeyId } = subject;
  if (authorityKeyId && issuer.subjectKeyId && !equalBytes(authorityKeyId, issuer.subjectKeyId)) {
    return 'key identifiers differ';
  }
  const key = await importCertified(issuer);
  const verified = await verifySignature(subject.scheme, key, subject.tbs, subject.signature);
  return verified ? undefined : 'signature does not verify';
}

/**
 * Shows that `subject` is not on `crl`, a list that `issuer` signed and that is current at `now`. A
 * caller cannot accept an old list: its clock alone decides.
 * @throws EvidenceError `collateral` if the list is another issuer's or its signature fails,
 * `validity` if it is not current, `revoked` if the certificate is on it.
 */
export async function verifyNotRevoked(
  subject: Certificate,
  issuer: Certificate,
  crl: RevocationList,
  options: Moment,
): Promise<void> {
  refuseRevoked(subject, await verifyCrl(crl, issuer, options));
}

declare const verified: unique symbol;

/** A list that its issuer signed and that is current: made by `verifyCrl` alone. */
export type VerifiedCrl = RevocationList & { readonly [verified]: true };

/**
 * The part of `verifyNotRevoked` that is about the certificate alone.
 * @param crl The list of the certificate's own issuer.
 * @throws EvidenceError `revoked`
 */
export function refuseRevoked(subject: Certificate, crl: VerifiedCrl): void {
  const since = crl.revoked.get(subject.serial);
  if (since !== undefined) {
    throw new EvidenceError('revoked', `${describe(subject)} was revoked at ${new Date(since).toISOString()}`);
  }
}

/**
 * The part of `verifyNotRevoked` that is about the list alone.
 * @throws EvidenceError `collateral`, `validity`
 */
export async function verifyCrl(crl: RevocationList, issuer: Certificate, options: Moment): Promise<VerifiedCrl> {
  if (!equalBytes(crl.issuer, issuer.subject)) {
    throw new EvidenceError('collateral', `CRL is not by ${describe(issuer)}`);
  }
  if (issuer.keyUsage !== undefined && !(issuer.keyUsage & KEY_USAGE.crlSign)) {
    throw new EvidenceError('collateral', `${describe(issuer)} may not sign CRLs`);
  }
  if (!(await verifySignature(crl.scheme, await importCertified(issuer), crl.tbs, crl.signature))) {
    throw new EvidenceError('collateral', `signature of the CRL by ${describe(issuer)} does not verify`);
  }
  checkDates(crl.thisUpdate, crl.nextUpdate, options, `CRL by ${describe(issuer)}`);
  return crl as VerifiedCrl;
}

/** Keys that were imported, as long as their certificates live. */
const keys = new WeakMap<Certificate, VerificationKey>();

/**
 * The key of a certificate, which is imported once.
 * @throws EvidenceError `format` if it does not parse, `key` if it is RSA of less than 2048 bits.
 */
export async function importCertified(certificate: Certificate): Promise<VerificationKey> {
  const known = keys.get(certificate);
  if (known !== undefined) return known;
  const what = `public key of ${describe(certificate)}`;
  const plain = parsePart('format', what, certificate.spki, plainRsaKey);
  const imported = await importPart(what, plain ?? certificate.spki);
  // A key that is certified for encryption alone verifies no signature.
  const key = plain === undefined ? imported : { ...imported, type: 'rsa-oaep' as const };
  if (key.type.startsWith('rsa') && (key.bits ?? 0) < MIN_RSA_BITS) {
    throw new EvidenceError('key', `RSA key of ${key.bits} bits in ${describe(certificate)}`);
  }
  keys.set(certificate, key);
  return key;
}

/**
 * Checks that a moment lies within a validity, and reports the end of the validity to `holds`.
 * @param from first time that is valid, in milliseconds since 1970
 * @param until last time that is valid, in milliseconds since 1970
 * @throws EvidenceError `validity` if the moment is not within both
 */
export function checkDates(from: number, until: number, { now, holds }: Moment, what: string): void {
  // Written so that a clock that is not a number fails.
  if (from <= now && now <= until) {
    holds?.({ at: until, what });
    return;
  }
  const [start, end, clock] = [from, until, now].map((time) =>
    Math.abs(time) <= LAST_DATE ? new Date(time).toISOString() : String(time),
  );
  throw new EvidenceError('validity', `${what} is valid from ${start} to ${end}, the time is ${clock}`);
}

function checkValidity(certificate: Certificate, moment: Moment): void {
  checkDates(certificate.notBefore, certificate.notAfter, moment, describe(certificate));
}

function pinOf(certificate: Certificate, pins: readonly Pin[]): Pin | undefined {
  const own = pinsOf(certificate);
  return [own.certificate, own.key].find((pin) => pins.includes(pin));
}

/**
 * Checks that a pin covers an anchor. A pin on the certificate fixes its every byte. A pin on the
 * key does not, so the certificate must be signed by the key itself. Without this, a peer could
 * write its own dates and constraints around a pinned key.
 */
async function checkAnchor(anchor: Certificate, pin: Pin): Promise<void> {
  if (pin === pinsOf(anchor).certificate) return;
  const own = equalBytes(anchor.subject, anchor.issuer);
  if (own && (await verifySignature(anchor.scheme, await importCertified(anchor), anchor.tbs, anchor.signature)))
    return;
  throw new EvidenceError('chain', `${describe(anchor)} is pinned by its key and not signed by it`);
}

function unknownCritical(certificate: Certificate): string | undefined {
  for (const [oid, { critical }] of certificate.extensions) if (critical && !UNDERSTOOD.has(oid)) return oid;
  return undefined;
}

function refuseUnknownCritical(leaf: Certificate): void {
  const unknown = unknownCritical(leaf);
  if (unknown !== undefined) throw new EvidenceError('chain', `critical extension ${unknown} is not known`);
}

/**
 * A certificate in a message: its serial number, and the tail of its subject, which ends in the CN.
 */
const describe: (certificate: Certificate) => string = deriveOnce(({ serial, subject }) => {
  const tail = new TextDecoder()
    .decode(subject.subarray(-24))
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim();
  return `certificate ${serial} (…${tail})`;
});

/** The two pins that would make this certificate an anchor. */
export const pinsOf: (certificate: Certificate) => { readonly certificate: Pin; readonly key: Pin } = deriveOnce(
  ({ der, spki }) => ({ certificate: digestText('sha256', sha256(der)), key: digestText('sha256', sha256(spki)) }),
);
