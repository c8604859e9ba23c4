/**
 * Certification paths to pinned roots (RFC 5280 section 6, without policies and name constraints)
 * and revocation.
 */

import { digest, verifySignature } from '#crypto';
import { equalBytes } from '../bytes.ts';
import type { VerificationKey } from '../crypto/scheme.ts';
import { type DigestText, digestText } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
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
    const pin = await pinOf(issuer, pins);
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
  const ranks = new Map(await Promise.all(named.map(async (one) => [one, (await pinOf(one, pins)) ? 0 : 1] as const)));
  const ordered = named.toSorted((a, b) => (ranks.get(a) ?? 1) - (ranks.get(b) ?? 1));
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
  await verifyCrl(crl, issuer, options);
  const since = crl.revoked.get(subject.serial);
  if (since !== undefined) {
    throw new EvidenceError('revoked', `${describe(subject)} was revoked at ${new Date(since).toISOString()}`);
  }
}

/** The part of `verifyNotRevoked` that is about the list alone. */
async function verifyCrl(crl: RevocationList, issuer: Certificate, options: Moment): Promise<void> {
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
}

/**
 * The key of a certificate.
 * @throws EvidenceError `format` if it does not parse, `key` if it is RSA of less than 2048 bits.
 */
export async function importCertified(certificate: Certificate): Promise<VerificationKey> {
  const what = `public key of ${describe(certificate)}`;
  const plain = parsePart('format', what, certificate.spki, plainRsaKey);
  const imported = await importPart(what, plain ?? certificate.spki);
  // A key that is certified for encryption alone verifies no signature.
  const key = plain === undefined ? imported : { ...imported, type: 'rsa-oaep' as const };
  if (key.type.startsWith('rsa') && (key.bits ?? 0) < MIN_RSA_BITS) {
    throw new EvidenceError('key', `RSA key of ${key.bits} bits in ${describe(certificate)}`);
  }
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

async function pinOf(certificate: Certificate, pins: readonly Pin[]): Promise<Pin | undefined> {
  const own = await pinsOf(certificate);
  return [own.certificate, own.key].find((pin) => pins.includes(pin));
}

/**
 * Checks that a pin covers an anchor. A pin on the certificate fixes its every byte. A pin on the
 * key does not, so the certificate must be signed by the key itself. Without this, a peer could
 * write its own dates and constraints around a pinned key.
 */
async function checkAnchor(anchor: Certificate, pin: Pin): Promise<void> {
  if (pin === (await pinsOf(anchor)).certificate) return;
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
function describe(certificate: Certificate): string {
  const tail = new TextDecoder()
    .decode(certificate.subject.subarray(-24))
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim();
  return `certificate ${certificate.serial} (…${tail})`;
}

/** The two pins that would make this certificate an anchor. */
export async function pinsOf(certificate: Certificate): Promise<{ readonly certificate: Pin; readonly key: Pin }> {
  return {
    certificate: digestText('sha256', await digest('sha256', certificate.der)),
    key: digestText('sha256', await digest('sha256', certificate.spki)),
  };
}
