/**
 * Releases: the entries of a release log (docs/audit/release-log.md). Entries are canonical JSON.
 */

import * as z from 'zod';
import { decodeCanonical, encodeCanonical } from '../canonical.ts';
import type { DigestText } from '../digest.ts';
import { sha256Text, sha384Text } from '../digest-schema.ts';
import { type ImageReference, imageSchema } from '../measure/image-reference.ts';

/** A base image: its manifest file, and the values that clients compare with. */
export interface ImageRelease {
  readonly enclaim: 'release/1';
  readonly kind: 'image';
  /** SHA-256 of the manifest file. */
  readonly manifest: DigestText<'sha256'>;
  readonly reference: ImageReference;
  /** SHA-256 of the kernel file, for platforms that are handed kernel and initrd apart. */
  readonly kernelFile: DigestText<'sha256'>;
  /** Digests of kernel (Authenticode) and initrd as TDX measures them. */
  readonly tdx: { readonly kernel: DigestText<'sha384'>; readonly initrd: DigestText<'sha384'> };
}

/** A policy. */
export interface PolicyRelease {
  readonly enclaim: 'release/1';
  readonly kind: 'policy';
  readonly policy: DigestText<'sha384'>;
}

/**
 * The contents of an entry.
 *
 * **Trust**: it is a statement of the holder of the log's key. The log shows that every client is
 * given the same entries.
 */
export type Release = ImageRelease | PolicyRelease;

/** Largest entry in bytes: tiles give each a length of two bytes. */
const LIMIT = 0xffff;

const enclaim = z.literal('release/1');
const releaseSchema: z.ZodType<Release> = z.discriminatedUnion('kind', [
  z.strictObject({
    enclaim,
    kind: z.literal('image'),
    manifest: sha256Text,
    reference: imageSchema,
    kernelFile: sha256Text,
    tdx: z.strictObject({ kernel: sha384Text, initrd: sha384Text }),
  }),
  z.strictObject({
    enclaim,
    kind: z.literal('policy'),
    policy: sha384Text,
  }),
]);

/** The bytes of an entry. */
export function encodeRelease(release: Release): Uint8Array {
  return encodeCanonical(releaseSchema.parse(release));
}

/** Reads an entry. @throws DecodeError `range`, `syntax`, `canonical` */
export function parseRelease(bytes: Uint8Array): Release {
  return decodeCanonical(releaseSchema, bytes, LIMIT);
}
