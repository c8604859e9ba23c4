/** Reference values: what an appraiser holds evidence against, and whom it trusts (docs/formats.md, "References"). */

import { z } from 'zod';
import { decodeJson } from './canonical.ts';
import { AppraisalError } from './errors.ts';

const sha256Text = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'expected sha256:<64 lower-case hex digits>');
const sha384Text = z.templateLiteral(['sha384:', z.string().regex(/^[0-9a-f]{96}$/)]);
const ed25519Text = z.string().regex(/^ed25519:[A-Za-z0-9_-]{43}$/, 'expected ed25519:<base64url of 32 bytes>');

const imageSchema = z.strictObject({
  /** SHA-256 of the UKI: the base image's identity. */
  id: sha256Text,
  /** Authenticode digests of the UKI and of the kernel inside it: register 4. */
  uki: sha256Text,
  kernel: sha256Text,
  /** SHA-256 of the initrd: register 9. */
  initrd: sha256Text,
  /** Value of register 11: the image's sections as the stub measures them. */
  sections: sha256Text,
  /** The command line inside the image. A policy is appended to it at launch: registers 9 and 12. */
  commandLine: z.string().min(1).max(2048),
});

/** What a client must know of a base image to predict the registers of a TPM. */
export type ImageReference = z.infer<typeof imageSchema>;

const referencesSchema = z.strictObject({
  enclaim: z.literal('references/1'),
  /** Base images that are accepted. Empty accepts none. */
  images: z.array(imageSchema).max(64),
  policy: sha384Text,
  /** App bundles that are accepted under the policy, or "any": handlers are confined. */
  bundles: z.union([z.literal('any'), z.array(sha384Text).max(64)]),
  /** Key of the policy's owner, or "any". */
  owner: z.union([z.literal('any'), ed25519Text]),
  anchors: z.strictObject({
    /** SHA-256 of TPMT_PUBLIC of attestation keys that are trusted by themselves. */
    attestationKeys: z.array(sha256Text).max(1024),
    /** SHA-256 of the DER of root certificates under which endorsement keys of real TPMs are certified. */
    endorsementRoots: z.array(sha256Text).max(64),
    /** The same for software TPMs, whose maker can sign anything. Only for development. */
    unsafeSwtpmRoots: z.array(sha256Text).max(64),
  }),
});

/** Reference values and trust anchors of one deployment. */
export type References = z.infer<typeof referencesSchema>;
/** Whom the references trust to vouch for a platform. */
export type Anchors = References['anchors'];

const LIMIT = 256 * 1024;

/** Reads a references file (JSON, UTF-8). @throws AppraisalError `references` */
export function parseReferences(bytes: Uint8Array): References {
  try {
    return decodeJson(referencesSchema, bytes, LIMIT);
  } catch (cause) {
    throw new AppraisalError('references', `references are unusable: ${(cause as Error).message}`, { cause });
  }
}
