/** Certificates, lists and keys as files hold them: DER or PEM, told by the bytes and not by a name. */

import { createPublicKey, type KeyObject } from 'node:crypto';
import { parsePem } from '../../attestation/src/x509/index.ts';
import { CannotFeed } from './topic.ts';

const PEM = '-----BEGIN ';

/** Every certificate of a file, DER: a PEM bundle, or one DER element after the other. */
export function certificatesIn(file: Uint8Array): Uint8Array[] {
  return isPem(file) ? parsePem(textOf(file), 'CERTIFICATE') : elementsOf(file);
}

/** The certificate of a file that has one, DER. */
export function certificateIn(file: Uint8Array): Uint8Array {
  return one(certificatesIn(file), 'certificate');
}

/** The revocation list of a file, DER. */
export function crlIn(file: Uint8Array): Uint8Array {
  return isPem(file) ? one(parsePem(textOf(file), 'X509 CRL'), 'revocation list') : file;
}

/** A public key: PEM, DER of SubjectPublicKeyInfo, or the one that belongs to a private key in PEM. */
export function publicKeyIn(file: Uint8Array): KeyObject {
  const bytes = Buffer.from(file);
  return createPublicKey(isPem(file) ? bytes : { key: bytes, format: 'der', type: 'spki' });
}

function isPem(file: Uint8Array): boolean {
  return textOf(file).includes(PEM);
}

function textOf(file: Uint8Array): string {
  return Buffer.from(file).toString('latin1');
}

function one(found: readonly Uint8Array[], what: string): Uint8Array {
  const [first, another] = found;
  if (first === undefined || another !== undefined) throw new CannotFeed(`${found.length} of a ${what} in one file`);
  return first;
}

/** The elements of a file by their lengths alone. What is no sequence is one element, for the code to refuse. */
function elementsOf(file: Uint8Array): Uint8Array[] {
  const elements: Uint8Array[] = [];
  let at = 0;
  while (at < file.length) {
    const end = at + elementLength(file.subarray(at));
    if (file[at] !== 0x30 || end > file.length) return [file];
    elements.push(file.subarray(at, end));
    at = end;
  }
  return elements;
}

function elementLength([, first = 0, ...rest]: Uint8Array): number {
  if (first < 0x80) return 2 + first;
  const bytes = rest.slice(0, first & 0x7f);
  return 2 + bytes.length + bytes.reduce((sum, byte) => sum * 256 + byte, 0);
}
