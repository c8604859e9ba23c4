/** Certificate authorities in software: X.509 certificates and CRLs of any shape, for fakes and for attacks. */

import { constants, createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { bits, boolean, context, der, integer, name, nothing, octets, oid, sequence, time } from './der.ts';

/** How a fake authority signs. */
export type FakeScheme = 'ecdsa-sha256' | 'ecdsa-sha384' | 'pss-sha384' | 'rsassa-sha256' | 'ed25519';

const DAY = 86_400_000;
/** 2026-01-01, the start of validity where a test names none. */
export const EPOCH: number = Date.UTC(2026, 0, 1);

const SHA384_ALGORITHM = sequence(oid('2.16.840.1.101.3.4.2.2'), nothing());
const ALGORITHMS: Readonly<Record<FakeScheme, Uint8Array>> = {
  'ecdsa-sha256': sequence(oid('1.2.840.10045.4.3.2')),
  'ecdsa-sha384': sequence(oid('1.2.840.10045.4.3.3')),
  'rsassa-sha256': sequence(oid('1.2.840.113549.1.1.11'), nothing()),
  ed25519: sequence(oid('1.3.101.112')),
  'pss-sha384': sequence(
    oid('1.2.840.113549.1.1.10'),
    sequence(
      context(0, SHA384_ALGORITHM),
      context(1, sequence(oid('1.2.840.113549.1.1.8'), SHA384_ALGORITHM)),
      context(2, integer(48)),
      context(3, integer(1)),
    ),
  ),
};

export interface FakeExtension {
  readonly oid: string;
  readonly critical?: boolean;
  readonly value: Uint8Array;
}

/** Everything a certificate says. What is left out gets a harmless value. */
export interface CertificateFields {
  readonly subject: Uint8Array;
  readonly spki: Uint8Array;
  readonly serial?: bigint | number;
  /** The serial as it is written, an INTEGER. */
  readonly serialDer?: Uint8Array;
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly extensions?: readonly FakeExtension[];
}

/** A key pair with a scheme and a name: what signs certificates, CRLs and, as a leaf, evidence. */
export class FakeIdentity {
  readonly scheme: FakeScheme;
  readonly subject: Uint8Array;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;

  /** @param place The rest of its name, texts by object identifier. */
  constructor(commonName: string, scheme: FakeScheme, place: Readonly<Record<string, string>> = {}) {
    this.scheme = scheme;
    this.subject = name(commonName, place);
    const keys = generate(scheme);
    this.privateKey = keys.privateKey;
    this.publicKey = keys.publicKey;
  }

  get spki(): Uint8Array {
    return this.publicKey.export({ type: 'spki', format: 'der' });
  }

  /** `tbs`, the algorithm and the signature, as certificates and CRLs are wrapped. */
  signed(tbs: Uint8Array): Uint8Array {
    return sequence(tbs, ALGORITHMS[this.scheme], bits(this.sign(tbs)));
  }

  sign(message: Uint8Array): Uint8Array {
    if (this.scheme === 'ed25519') return sign(null, message, this.privateKey);
    const hash = this.scheme.endsWith('384') ? 'sha384' : 'sha256';
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const key = this.scheme === 'pss-sha384' ? { key: this.privateKey, padding, saltLength: 48 } : this.privateKey;
    return sign(hash, message, key);
  }

  certify(fields: CertificateFields): Uint8Array {
    const extensions = fields.extensions ?? [];
    const tbs = sequence(
      context(0, integer(2)),
      fields.serialDer ?? integer(fields.serial ?? 1),
      ALGORITHMS[this.scheme],
      this.subject,
      sequence(time(fields.notBefore ?? EPOCH), time(fields.notAfter ?? EPOCH + 3650 * DAY)),
      fields.subject,
      fields.spki,
      ...(extensions.length === 0 ? [] : [context(3, sequence(...extensions.map(extensionOf)))]),
    );
    return this.signed(tbs);
  }

  /** A certificate of this identity by itself. */
  root(extra: Partial<CertificateFields> = {}): Uint8Array {
    return this.certify({ subject: this.subject, spki: this.spki, extensions: authority(), ...extra });
  }

  /** A CRL of this identity, with the number that every one has (RFC 5280, 5.2.3). */
  crl(
    fields: {
      /** Serial numbers, or INTEGERs as they are to be written. */
      readonly revoked?: readonly (bigint | number | Uint8Array)[];
      readonly thisUpdate?: number;
      readonly nextUpdate?: number;
      readonly extensions?: readonly FakeExtension[];
    } = {},
  ): Uint8Array {
    const thisUpdate = fields.thisUpdate ?? EPOCH;
    const revoked = (fields.revoked ?? []).map((serial) =>
      sequence(serial instanceof Uint8Array ? serial : integer(serial), time(thisUpdate)),
    );
    const extensions = fields.extensions ?? [{ oid: '2.5.29.20', value: integer(1) }];
    const tbs = sequence(
      integer(1),
      ALGORITHMS[this.scheme],
      this.subject,
      time(thisUpdate),
      time(fields.nextUpdate ?? EPOCH + 365 * DAY),
      ...(revoked.length === 0 ? [] : [sequence(...revoked)]),
      ...(extensions.length === 0 ? [] : [context(0, sequence(...extensions.map(extensionOf)))]),
    );
    return this.signed(tbs);
  }
}

/** The extensions of a CA that may sign certificates and CRLs. */
export function authority(pathLength?: number): FakeExtension[] {
  const limit = pathLength === undefined ? [] : [integer(pathLength)];
  return [
    { oid: '2.5.29.19', critical: true, value: sequence(boolean(true), ...limit) },
    { oid: '2.5.29.15', critical: true, value: bits(Uint8Array.of(0x06), 1) },
  ];
}

/** The extension that says where an issuer's CRL is. */
export function crlAt(address: string): FakeExtension {
  const point = sequence(context(0, context(0, der(0x86, Buffer.from(address)))));
  return { oid: '2.5.29.31', value: sequence(point) };
}

/** SHA-256 pin of a certificate or key. */
export function pinOf(bytes: Uint8Array): `sha256:${string}` {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function extensionOf({ oid: id, critical, value }: FakeExtension): Uint8Array {
  return sequence(oid(id), ...(critical ? [boolean(true)] : []), octets(value));
}

function generate(scheme: FakeScheme): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (scheme) {
    case 'ecdsa-sha256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ecdsa-sha384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    case 'ed25519':
      return generateKeyPairSync('ed25519');
    // Real roots have 4096 bits; a key of that size takes a second to make and shows nothing more.
    case 'pss-sha384':
    case 'rsassa-sha256':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
  }
}

/** PEM of certificates, in order. */
export function pemOf(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map(
      (one) =>
        `-----BEGIN CERTIFICATE-----\n${(
          Buffer.from(one)
            .toString('base64')
            .match(/.{1,64}/g) ?? []
        ).join('\n')}\n-----END CERTIFICATE-----\n`,
    )
    .join('');
}
