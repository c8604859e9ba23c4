/**
 * The Secrets service as both of its sides know it: messages, and how the owner proves a request
 * (attestation/proto/enclaim/v1/secrets.proto).
 */

import { concat, utf8 } from './bytes.ts';
import { sha256 } from './digest.ts';
import { DecodeError } from './errors.ts';
import { labelBytes } from './labels.ts';
import { parseCertificate, parsePemBlocks } from './x509/index.ts';

export {
  ListSecretsRequestSchema,
  ListSecretsResponseSchema,
  PutSecretRequestSchema,
  PutSecretResponseSchema,
  RemoveSecretRequestSchema,
  RemoveSecretResponseSchema,
  Secrets,
} from './gen/enclaim/v1/secrets_pb.js';

/** Metadata in which the owner proves a request: an Ed25519 signature. */
export const OWNER_METADATA = 'enclaim-owner-bin';
export const OWNER_PROOF_BYTES = 64;
/** Bytes of the shortest value: a shorter one would be found in answers that do not mean it. */
export const MIN_SECRET_BYTES = 8;
/** Bytes of the longest value. */
export const MAX_SECRET_BYTES: number = 8 * 1024;

/** The connection and the request that an owner signs for. */
export interface OwnedRequest {
  /** Keying material of the TLS session under the label of the attested handshake, 32 bytes. */
  readonly exporter: Uint8Array;
  /** Digest of the boot statement, 32 bytes. */
  readonly boot: Uint8Array;
  /** Such as `/enclaim.v1.Secrets/Put`. */
  readonly path: string;
  /** The request message. */
  readonly request: Uint8Array;
}

/**
 * The bytes that the owner signs of one request, on one connection of one boot.
 *
 * Without exporter and boot, a server that the owner once spoke to could present the signature to
 * another; without path and request, with other contents.
 */
export function ownerMessage({ exporter, boot, path, request }: OwnedRequest): Uint8Array {
  const asked = sha256(concat(utf8(`${path}\0`), request));
  return concat(labelBytes('secrets'), exporter, boot, asked);
}

/** Why a value cannot stand in a header; undefined if it can. Repeats nothing of it. */
export function secretFault(value: Uint8Array): string | undefined {
  if (value.length < MIN_SECRET_BYTES || value.length > MAX_SECRET_BYTES)
    return `a value has ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} bytes`;
  for (const byte of value) {
    const named = UNPRINTABLE[byte];
    if (named !== undefined) return `the value holds ${named}, which no header carries`;
    if (byte < SPACE || byte > TILDE) return 'the value holds a character that is not printable ASCII';
  }
  if (value[0] === SPACE || value.at(-1) === SPACE) return 'the value begins or ends with a space';
  return undefined;
}

/** Bytes of the longest client certificate: a key, and a chain for it, as PEM. */
export const MAX_CERTIFICATE_BYTES: number = 16 * 1024;
/** Certificates of its chain, at most. */
export const MAX_CLIENT_CHAIN = 8;
const KEY = 'PRIVATE KEY';
const CERTIFICATE = 'CERTIFICATE';

/**
 * A client certificate as it is brought: DER of its key (PKCS #8), and its chain, the leaf first.
 */
export interface ClientCertificate {
  readonly key: Uint8Array;
  readonly chain: readonly Uint8Array[];
}

/** Whether a value means to be a client certificate: no header carries such a text. */
export function isPem(value: Uint8Array): boolean {
  return fromLatin1(value.subarray(0, PEM_BEGIN.length)) === PEM_BEGIN;
}

/**
 * A client certificate of PEM text: one key (PKCS #8, not encrypted) and one to eight certificates,
 * in any order but for that of the chain. That they belong together is not looked at.
 *
 * @throws DecodeError, which repeats nothing of it
 */
export function parseClientCertificate(value: Uint8Array): ClientCertificate {
  if (value.length > MAX_CERTIFICATE_BYTES)
    throw new DecodeError('range', `more than ${MAX_CERTIFICATE_BYTES} bytes`, MAX_CERTIFICATE_BYTES);
  const blocks = parsePemBlocks(fromLatin1(value), [KEY, CERTIFICATE], MAX_CLIENT_CHAIN + 1);
  const [key, ...more] = blocks.filter(({ label }) => label === KEY);
  if (key === undefined || more.length > 0)
    throw new DecodeError('syntax', `${more.length + (key === undefined ? 0 : 1)} private keys where one belongs`, 0);
  const chain = blocks.filter(({ label }) => label === CERTIFICATE).map(({ der }) => der);
  if (chain.length === 0) throw new DecodeError('syntax', 'no certificate for the key', 0);
  for (const der of chain) parseCertificate(der);
  return { key: key.der, chain };
}

/** Why a value is no client certificate; undefined if it can be one. Repeats nothing of it. */
export function certificateFault(value: Uint8Array): string | undefined {
  try {
    parseClientCertificate(value).key.fill(0);
    return undefined;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return `no client certificate (PEM of a PKCS #8 key and its chain): ${error.message}`;
  }
}

function fromLatin1(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const PEM_BEGIN = '-----BEGIN ';
const SPACE = 0x20;
const TILDE = 0x7e;
const UNPRINTABLE: Readonly<Record<number, string>> = {
  0: 'a zero byte (NUL)',
  10: 'the end of a line (LF)',
  13: 'the end of a line (CR)',
};
