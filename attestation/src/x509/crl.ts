/** X.509 version 2 certificate revocation lists (RFC 5280 section 5). */

import { toHex } from '../bytes.ts';
import type { SignatureScheme } from '../crypto/scheme.ts';
import { DecodeError } from '../errors.ts';
import { parseOnce } from '../parse-once.ts';
import { readSignatureScheme } from './algorithm.ts';
import { readExtensions, sameAlgorithm, soleSequence } from './certificate.ts';
import { contextTag, DerReader, soleElement, TAG } from './der.ts';

/**
 * A CRL as parsed.
 *
 * **Trust**: not authenticated until `verifyNotRevoked` has checked its signature.
 */
export interface RevocationList {
  readonly tbs: Uint8Array;
  readonly scheme: SignatureScheme;
  readonly signature: Uint8Array;
  /** Name of the issuer, DER. */
  readonly issuer: Uint8Array;
  /** Milliseconds since 1970. A list without nextUpdate is not read: it would never be stale. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
  /** Time of revocation by serial number (hexadecimal of the contents of its shortest form). */
  readonly revoked: ReadonlyMap<string, number>;
}

const MAX_CRL = 1 << 22;

/**
 * Reads one DER CRL of at most 4 MiB.
 * @throws DecodeError. Critical extensions, of the list or of an entry, change what the list means
 * (delta lists, indirect lists, partial scopes): `version`.
 */
export function parseCrl(der: Uint8Array): RevocationList {
  if (der.length > MAX_CRL) throw new DecodeError('range', `CRL of ${der.length} bytes`, 0);
  const outer = DerReader.inside(soleElement(der, TAG.sequence, 'CRL'));
  const tbsElement = outer.next(TAG.sequence, 'tbsCertList');
  const algorithm = outer.next(TAG.sequence, 'signatureAlgorithm');
  const signature = outer.octetsOfBits('signature');
  outer.end('CRL');

  const tbs = DerReader.inside(tbsElement);
  if (tbs.smallInteger('version') !== 1) throw new DecodeError('version', 'CRL is not version 2', 0);
  sameAlgorithm(tbs.next(TAG.sequence, 'signature'), algorithm);
  const issuer = tbs.next(TAG.sequence, 'issuer').der;
  const thisUpdate = tbs.time('thisUpdate');
  const nextUpdate = tbs.time('nextUpdate');
  const revoked = tbs.has(TAG.sequence) ? readRevoked(tbs.sequence('revokedCertificates')) : new Map<string, number>();
  const extensions = tbs.optional(contextTag(0));
  tbs.end('tbsCertList');
  if (extensions !== undefined) refuseCritical(readExtensions(soleSequence(extensions)));
  return {
    tbs: tbsElement.der,
    scheme: readSignatureScheme(DerReader.inside(algorithm)),
    signature,
    issuer,
    thisUpdate,
    nextUpdate,
    revoked,
  };
}

/** As {@link parseCrl}, which runs once for a list that comes again. */
export const parseCrlOnce: (der: Uint8Array) => RevocationList = parseOnce(parseCrl);

function readRevoked(list: DerReader): Map<string, number> {
  const revoked = new Map<string, number>();
  while (!list.empty) {
    const entry = list.sequence('revoked certificate');
    const serial = toHex(entry.serialNumber('serial number'));
    const time = entry.time('revocation date');
    const extensions = entry.optional(TAG.sequence);
    entry.end('revoked certificate');
    if (extensions !== undefined) refuseCritical(readExtensions(DerReader.inside(extensions)));
    revoked.set(serial, time);
  }
  return revoked;
}

function refuseCritical(extensions: ReturnType<typeof readExtensions>): void {
  for (const [oid, { critical }] of extensions) {
    if (critical) throw new DecodeError('version', `critical CRL extension ${oid} is not known`, 0);
  }
}
