/** X.509 version 3 certificates (RFC 5280 section 4), parsed without a check of their signers. */

import { toHex } from '../bytes.ts';
import type { SignatureScheme } from '../crypto/scheme.ts';
import { DecodeError } from '../errors.ts';
import { parseOnce } from '../parse-once.ts';
import { readSignatureScheme } from './algorithm.ts';
import { contextTag, DerReader, type Element, soleElement, TAG } from './der.ts';

/** Object identifiers of the extensions that are read here. */
export const EXTENSION = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** Bits of KeyUsage as numbered in RFC 5280 section 4.2.1.3, bit 0 being the lowest here. */
export const KEY_USAGE = {
  digitalSignature: 0x01,
  keyEncipherment: 0x04,
  keyAgreement: 0x10,
  certificateSign: 0x20,
  crlSign: 0x40,
} as const;

/** Contents of the extension's OCTET STRING, not interpreted. */
export interface Extension {
  readonly critical: boolean;
  readonly value: Uint8Array;
}

/**
 * Object identifiers of the extended key usages (RFC 5280 section 4.2.1.12); none if the extension
 * is absent.
 * @throws DecodeError
 */
export function extendedKeyUsages({ extensions }: Certificate): string[] {
  const extension = extensions.get(EXTENSION.extendedKeyUsage);
  if (extension === undefined) return [];
  const usages = DerReader.inside(soleElement(extension.value, TAG.sequence, 'extended key usages'));
  const found: string[] = [];
  while (!usages.empty) found.push(usages.oid('extended key usage'));
  return found;
}

/**
 * A certificate as parsed.
 *
 * **Trust**: nothing in it is authenticated until `verifyChain` has returned it.
 */
export interface Certificate {
  /** The whole certificate as it came. */
  readonly der: Uint8Array;
  /** The signed part as it came: never re-encoded. */
  readonly tbs: Uint8Array;
  /** Serial number, hexadecimal of the contents of its shortest form. */
  readonly serial: string;
  readonly scheme: SignatureScheme;
  readonly signature: Uint8Array;
  /** Names as DER: compared byte by byte. `nameText` reads them. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** Milliseconds since 1970, both ends included. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly extensions: ReadonlyMap<string, Extension>;
  /** Present if BasicConstraints says that this is a CA; `undefined` path length means no limit. */
  readonly ca?: { readonly pathLength: number | undefined };
  /** KeyUsage bits, or undefined if the extension is absent. */
  readonly keyUsage?: number;
  readonly subjectKeyId?: Uint8Array;
  readonly authorityKeyId?: Uint8Array;
}

const MAX_CERTIFICATE = 1 << 16;
const MAX_EXTENSIONS = 64;

/**
 * Reads one DER certificate.
 * @throws DecodeError. Only version 3 is read: earlier ones cannot say whether they are a CA.
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE) throw new DecodeError('range', `certificate of ${der.length} bytes`, 0);
  const outer = DerReader.inside(soleElement(der, TAG.sequence, 'certificate'));
  const tbsElement = outer.next(TAG.sequence, 'tbsCertificate');
  const algorithm = outer.next(TAG.sequence, 'signatureAlgorithm');
  const signature = outer.octetsOfBits('signature');
  outer.end('certificate');

  const tbs = DerReader.inside(tbsElement);
  const version = tbs.sequence('version', contextTag(0));
  if (version.smallInteger('version') !== 2) throw new DecodeError('version', 'certificate is not version 3', 0);
  version.end('version');
  const serial = toHex(tbs.serialNumber('serial number'));
  sameAlgorithm(tbs.next(TAG.sequence, 'signature'), algorithm);
  const issuer = tbs.next(TAG.sequence, 'issuer').der;
  const validity = tbs.sequence('validity');
  const notBefore = validity.time('notBefore');
  const notAfter = validity.time('notAfter');
  validity.end('validity');
  const subject = tbs.next(TAG.sequence, 'subject').der;
  const spki = tbs.next(TAG.sequence, 'subjectPublicKeyInfo').der;
  // Unique identifiers ([1], [2]) are not allowed by RFC 5280 profiles that attestation uses.
  const wrapped = tbs.optional(contextTag(3));
  tbs.end('tbsCertificate');
  const extensions = wrapped === undefined ? new Map<string, Extension>() : readExtensions(soleSequence(wrapped));
  return {
    der,
    tbs: tbsElement.der,
    serial,
    scheme: readSignatureScheme(DerReader.inside(algorithm)),
    signature,
    issuer,
    subject,
    notBefore,
    notAfter,
    spki,
    extensions,
    ...interpret(extensions),
  };
}

/** As {@link parseCertificate}, which runs once for certificates that come again. */
export const parseCertificateOnce: (der: Uint8Array) => Certificate = parseOnce(parseCertificate);

/** The Extensions inside the context element that wraps them. */
export function soleSequence(wrapped: Element): DerReader {
  return DerReader.inside(soleElement(wrapped.body, TAG.sequence, 'extensions', wrapped.at));
}

/**
 * Reads the elements of Extensions.
 * @throws DecodeError `syntax` if one object identifier stands twice, because readers would differ
 * on which counts
 */
export function readExtensions(list: DerReader): Map<string, Extension> {
  const extensions = new Map<string, Extension>();
  while (!list.empty) {
    const one = list.next(TAG.sequence, 'extension');
    const [oid, extension] = readExtension(DerReader.inside(one));
    if (extensions.has(oid)) throw new DecodeError('syntax', `extension ${oid} stands twice`, one.at);
    if (extensions.size === MAX_EXTENSIONS) throw new DecodeError('range', 'too many extensions', one.at);
    extensions.set(oid, extension);
  }
  return extensions;
}

function readExtension(reader: DerReader): [string, Extension] {
  const oid = reader.oid('extension');
  const critical = reader.has(TAG.boolean) && reader.boolean('critical');
  const value = reader.next(TAG.octetString, 'extension value').body;
  reader.end('extension');
  return [oid, { critical, value }];
}

/**
 * Checks that both places that name the algorithm agree.
 * @throws DecodeError `syntax` if they differ (RFC 5280 section 4.1.1.2).
 */
export function sameAlgorithm(inside: Element, outside: Element): void {
  if (toHex(inside.der) !== toHex(outside.der)) {
    throw new DecodeError('syntax', 'signature algorithm inside and outside the signed part differ', inside.at);
  }
}

type Interpreted = Pick<Certificate, 'ca' | 'keyUsage' | 'subjectKeyId' | 'authorityKeyId'>;

function interpret(extensions: ReadonlyMap<string, Extension>): Interpreted {
  const constraints = extensions.get(EXTENSION.basicConstraints);
  const usage = extensions.get(EXTENSION.keyUsage);
  const subjectKey = extensions.get(EXTENSION.subjectKeyIdentifier);
  const authorityKey = extensions.get(EXTENSION.authorityKeyIdentifier);
  const ca = constraints && readBasicConstraints(constraints.value);
  const authorityKeyId = authorityKey && readAuthorityKeyId(authorityKey.value);
  return {
    ...(ca && { ca }),
    ...(usage && { keyUsage: readKeyUsage(usage.value) }),
    ...(subjectKey && { subjectKeyId: soleElement(subjectKey.value, TAG.octetString, 'subject key identifier').body }),
    ...(authorityKeyId && { authorityKeyId }),
  };
}

function readBasicConstraints(value: Uint8Array): Certificate['ca'] {
  const reader = DerReader.inside(soleElement(value, TAG.sequence, 'basic constraints'));
  const isCa = reader.has(TAG.boolean) && reader.boolean('cA');
  const pathLength = reader.empty ? undefined : reader.smallInteger('path length');
  reader.end('basic constraints');
  return isCa ? { pathLength } : undefined;
}

function readKeyUsage(value: Uint8Array): number {
  const { body } = soleElement(value, TAG.bitString, 'key usage');
  const [unused = 0, first = 0, second = 0] = body;
  if (body.length < 2 || body.length > 3 || unused > 7)
    throw new DecodeError('syntax', 'key usage is not a bit list', 0);
  let bits = 0;
  for (let bit = 0; bit < 16; bit++) if (((first << 8) | second) & (0x8000 >> bit)) bits |= 1 << bit;
  return bits;
}

function readAuthorityKeyId(value: Uint8Array): Uint8Array | undefined {
  const reader = DerReader.inside(soleElement(value, TAG.sequence, 'authority key identifier'));
  return reader.optional(0x80)?.body;
}

/** Short names of the attribute types in names. Any other type keeps its object identifier. */
const ATTRIBUTES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'SERIALNUMBER',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
};

const TEXT_TAGS: readonly number[] = [TAG.utf8String, TAG.printableString, TAG.ia5String];

/**
 * The attributes of a Name, in order: `[['C', 'US'], ['CN', 'ARK-Milan']]`.
 * @throws DecodeError `syntax` if an attribute is not UTF-8, printable or IA5 text.
 */
export function readName(der: Uint8Array): [string, string][] {
  const attributes: [string, string][] = [];
  const names = DerReader.inside(soleElement(der, TAG.sequence, 'name'));
  while (!names.empty) {
    const set = names.sequence('relative name', TAG.set);
    do {
      const pair = set.sequence('attribute');
      const oid = pair.oid('attribute type');
      const { tag, body, at } = pair.any();
      pair.end('attribute');
      if (!TEXT_TAGS.includes(tag)) throw new DecodeError('syntax', `attribute ${oid} is not text`, at);
      attributes.push([ATTRIBUTES[oid] ?? oid, new TextDecoder().decode(body)]);
    } while (!set.empty);
  }
  return attributes;
}

/** The CN of a Name. @throws DecodeError `syntax` if there is none or more than one. */
export function commonName(der: Uint8Array): string {
  const [only, ...more] = readName(der).filter(([type]) => type === 'CN');
  if (only === undefined || more.length > 0) throw new DecodeError('syntax', 'name without exactly one CN', 0);
  return only[1];
}
