/** Boot statement: what one boot says of itself, and hardware signs (docs/formats.md, "Boot statement"). */

import { z } from 'zod';
import { fromBase64Url, toBase64Url } from './bytes.ts';
import { decodeCanonical, encodeCanonical } from './canonical.ts';
import { labelled, type Sha256 } from './digest.ts';

const sha256Text = z.templateLiteral([z.literal('sha256:'), z.string().regex(/^[0-9a-f]{64}$/)]);
const sha384Text = z.templateLiteral([z.literal('sha384:'), z.string().regex(/^[0-9a-f]{96}$/)]);
const ed25519Text = z.templateLiteral([z.literal('ed25519:'), z.string().regex(/^[A-Za-z0-9_-]{43}$/)]);

/** Names of the platforms that evidence can come from. */
export const PLATFORMS = ['tpm', 'snp', 'tdx', 'azure-snp', 'azure-tdx', 'gcp', 'nitro', 'simulated'] as const;
export type Platform = (typeof PLATFORMS)[number];

const statementSchema = z.strictObject({
  version: z.literal(1),
  platform: z.enum(PLATFORMS),
  /** 16 random bytes of this boot, hex. */
  bootId: z.string().regex(/^[0-9a-f]{32}$/),
  policy: sha384Text,
  bundle: sha384Text,
  /** The base image's own name for itself; its digest is what the measurement says. */
  image: z.string().regex(/^[a-z0-9][a-z0-9.+-]{0,63}$/),
  /** What identifies the device: digests of TPMT_PUBLIC of the attestation key and of the EK certificate. */
  device: z.strictObject({ ak: sha256Text.nullable(), ekCertificate: sha256Text.nullable() }),
  /** SHA-256 of the TLS key's SubjectPublicKeyInfo, and the raw Ed25519 key that signs receipts. */
  keys: z.strictObject({ tls: sha256Text, receipt: ed25519Text }),
  /** Where the log stood when this boot began: origin, number of records, hash of the last one. */
  log: z.strictObject({ origin: z.string().regex(/^[a-z0-9./-]{1,128}$/), size: z.int().nonnegative(), head: sha256Text }),
  /** The policy's owner key, or null where it names none. */
  owner: ed25519Text.nullable(),
  /** Start of the runtime, and what that time rests on. */
  started: z.strictObject({ at: z.iso.datetime({ precision: 3 }), strength: z.enum(['host', 'signed']) }),
});

/** A boot statement. Digests and keys as text, so that people can read it. */
export type BootStatement = z.infer<typeof statementSchema>;

const LIMIT = 8 * 1024;

/** Canonical bytes of a statement. */
export function encodeStatement(statement: BootStatement): Uint8Array {
  return encodeCanonical(statementSchema.parse(statement));
}

/** The statement of canonical bytes. **Trust**: authentic only once its digest was found signed. @throws DecodeError */
export function decodeStatement(bytes: Uint8Array): BootStatement {
  return decodeCanonical(statementSchema, bytes, LIMIT);
}

/** `SHA-256("enclaim/boot/v1" ‖ NUL ‖ bytes)`: the second half of what every quote covers. */
export function bootDigest(statementBytes: Uint8Array): Sha256 {
  return labelled('enclaim/boot/v1', statementBytes);
}

/** Text of a raw Ed25519 public key of 32 bytes. */
export function ed25519Key(raw: Uint8Array): `ed25519:${string}` {
  return `ed25519:${toBase64Url(raw)}`;
}

/** SubjectPublicKeyInfo (DER, RFC 8410) of an Ed25519 key text. @throws DecodeError */
export function ed25519Spki(text: string): Uint8Array {
  const raw = fromBase64Url(text.slice('ed25519:'.length));
  return Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, ...raw);
}
