/**
 * Recovery: signers of a policy say that a system goes on with an older copy of its state disk
 * (docs/reference/formats.md, "Recovery").
 */

import type { Policy } from '@enclaim/policy-schema/admission';
import * as z from 'zod';
import { concat, equalBytes, toBase64Url, u32be, utf8 } from './bytes.ts';
import { decodeCanonical, decodeJson, encodeCanonical } from './canonical.ts';
import { type DigestText, digestText, labelled, type Sha256, sha256 } from './digest.ts';
import { sha256Text, sha384Text } from './digest-schema.ts';
import { type SignersSignature, signaturesLack, signersSignature } from './signers.ts';
import type { Ed25519Text } from './statement.ts';

/** Bytes of a recovery: what a disk has room for. */
export const MAX_RECOVERY_BYTES: number = 3328;
/** Bytes of a recovery's file as people lay it out, at most. */
const MAX_RECOVERY_FILE_BYTES = 8192;
/** Signatures under one recovery. */
export const MAX_RECOVERY_SIGNATURES = 16;
/** Offset on a disk: behind the first superblock, in whose sector of 4 KiB nothing else stands. */
export const RECOVERY_AT = 512;
/** Bytes of the area there. */
export const RECOVERY_AREA_BYTES = 3584;
const MAGIC = utf8('ENCLRCV\0');
const HASH_BYTES = 32;

/** The statement that signers sign: which disk, to the record, their system goes on with. */
export interface RecoveryDocument {
  readonly policy: DigestText<'sha384'>;
  /** The epoch of the disk, which has to be the keeper's present one. */
  readonly epoch: number;
  /** The tree of the log as the disk has it. Records behind it are given up. */
  readonly log: { readonly size: number; readonly root: DigestText<'sha256'> };
}

/** A recovery as it is kept. */
export interface RecoveryFile {
  readonly enclaim: 'recovery/1';
  readonly document: RecoveryDocument;
  readonly signatures: readonly SignersSignature[];
}

/** Reason why a recovery does not hold. */
export type RecoveryErrorCode =
  | 'format' // not a recovery, or too long
  | 'policy' // it is of another policy, or of one that names no signers
  | 'signatures'; // one is false, a stranger's, or a signer's second one; or some lack

/** A recovery does not hold. */
export class RecoveryError extends Error {
  override readonly name = 'RecoveryError';
  readonly code: RecoveryErrorCode;

  constructor(code: RecoveryErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const schema: z.ZodType<RecoveryFile> = z.strictObject({
  enclaim: z.literal('recovery/1'),
  document: z.strictObject({
    policy: sha384Text,
    epoch: z.int().positive(),
    log: z.strictObject({ size: z.int().nonnegative(), root: sha256Text }),
  }),
  signatures: z.array(signersSignature).max(MAX_RECOVERY_SIGNATURES),
});

/** Canonical bytes of a recovery. @throws ZodError on another shape */
export function encodeRecovery(file: RecoveryFile): Uint8Array {
  return encodeCanonical(schema.parse(file));
}

/**
 * The recovery of a file that people may have laid out. Its signatures are not looked at.
 * @throws RecoveryError `format`
 */
export function readRecovery(bytes: Uint8Array): RecoveryFile {
  return decoded(() => decodeJson(schema, bytes, MAX_RECOVERY_FILE_BYTES));
}

/** `SHA-256("enclaim/recovery/v1" ‖ NUL ‖ canonical bytes of the document)`: what signers sign. */
export function recoveryDigest(document: RecoveryDocument): Sha256 {
  return labelled('recovery', encodeCanonical(document));
}

/** A recovery with one more signature. @param sign Ed25519 signature, 64 bytes, under the key */
export function signRecovery(
  file: RecoveryFile,
  key: Ed25519Text,
  sign: (message: Uint8Array) => Uint8Array,
): RecoveryFile {
  const signature = toBase64Url(sign(recoveryDigest(file.document)));
  const others = file.signatures.filter((each) => each.key !== key);
  return schema.parse({ ...file, signatures: [...others, { key, signature }] });
}

/** A recovery whose signatures are those that its policy demands. */
export interface VerifiedRecovery {
  readonly document: RecoveryDocument;
  readonly digest: DigestText<'sha256'>;
}

/**
 * The recovery of canonical bytes, once as many signers of the policy as pass its state on are
 * known to have signed it. Whether it is of this disk, the caller decides.
 *
 * @throws RecoveryError
 */
export async function verifyRecovery(
  bytes: Uint8Array,
  policy: DigestText<'sha384'>,
  { succession }: Pick<Policy, 'succession'>,
): Promise<VerifiedRecovery> {
  const { document, signatures } = decoded(() => decodeCanonical(schema, bytes, MAX_RECOVERY_BYTES));
  // layer: policy of a recovery
  if (document.policy !== policy) throw new RecoveryError('policy', `the recovery is under policy ${document.policy}`);
  if (succession === 'none') throw new RecoveryError('policy', 'the policy names no signers (succession)');
  const { signers, threshold } = succession;
  const digest = recoveryDigest(document);
  const lacking = await signaturesLack(digest, signatures, { signers, needed: threshold });
  // layer: signatures of a recovery
  if (lacking !== undefined) throw new RecoveryError('signatures', lacking);
  return { document, digest: digestText('sha256', digest) };
}

/** The area of a disk with a recovery, or with none. @throws RangeError for one that is too long */
export function recoveryArea(recovery: Uint8Array): Uint8Array {
  if (recovery.length > MAX_RECOVERY_BYTES) throw new RangeError(`a recovery of ${recovery.length} bytes`);
  const body = concat(MAGIC, u32be(recovery.length), recovery);
  return concat(body, sha256(body), new Uint8Array(RECOVERY_AREA_BYTES - HASH_BYTES - body.length));
}

/** Bytes of the recovery in an area; undefined for any bytes that are not whole. */
export function recoveryIn(area: Uint8Array): Uint8Array | undefined {
  const from = MAGIC.length + 4;
  if (area.length !== RECOVERY_AREA_BYTES || !equalBytes(area.subarray(0, MAGIC.length), MAGIC)) return undefined;
  const length = new DataView(area.buffer, area.byteOffset, area.length).getUint32(MAGIC.length);
  if (length > MAX_RECOVERY_BYTES) return undefined;
  const end = from + length;
  if (!equalBytes(sha256(area.subarray(0, end)), area.subarray(end, end + HASH_BYTES))) return undefined;
  return area.slice(from, end);
}

function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new RecoveryError('format', (cause as Error).message, { cause });
  }
}
