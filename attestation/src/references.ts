/** Reference values: what an appraiser holds evidence against, and whom it trusts (docs/formats.md, "References"). */

import * as z from 'zod';
import { decodeJson } from './canonical.ts';
import type { DigestText } from './digest.ts';
import { AppraisalError } from './errors.ts';
import type { Ed25519Text } from './statement.ts';

/** What a client must know of a base image to predict the registers of a TPM. */
export interface ImageReference {
  /** SHA-256 of the UKI: the base image's identity. */
  readonly id: DigestText<'sha256'>;
  /** Authenticode digests of the UKI and of the kernel inside it: register 4. */
  readonly uki: DigestText<'sha256'>;
  readonly kernel: DigestText<'sha256'>;
  /** SHA-256 of the initrd: register 9. */
  readonly initrd: DigestText<'sha256'>;
  /** Value of register 11: the image's sections as the stub measures them. */
  readonly sections: DigestText<'sha256'>;
  /** The command line inside the image. A policy is appended to it at launch: registers 9 and 12. */
  readonly commandLine: string;
}

/** Whom the references trust to vouch for a platform. */
export interface Anchors {
  /** SHA-256 of TPMT_PUBLIC of attestation keys that are trusted by themselves. */
  readonly attestationKeys: readonly DigestText<'sha256'>[];
  /** SHA-256 of the DER of root certificates under which endorsement keys of real TPMs are certified. */
  readonly endorsementRoots: readonly DigestText<'sha256'>[];
  /** The same for software TPMs, whose maker can sign anything. Only for development. */
  readonly unsafeSwtpmRoots: readonly DigestText<'sha256'>[];
  /** Certificates (base64 of DER) to build paths with. Not trusted by themselves: only the digests above are. */
  readonly certificates: readonly string[];
}

/** Reference values and trust anchors of one deployment. */
export interface References {
  readonly enclaim: 'references/1';
  /** Base images that are accepted. Empty accepts none. */
  readonly images: readonly ImageReference[];
  readonly policy: DigestText<'sha384'>;
  /** App bundles that are accepted under the policy, or "any": handlers are confined. */
  readonly bundles: 'any' | readonly DigestText<'sha384'>[];
  /** Key of the policy's owner, or "any". */
  readonly owner: 'any' | Ed25519Text;
  readonly anchors: Anchors;
}

const sha256Text = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const sha384Text = z.templateLiteral(['sha384:', z.string().regex(/^[0-9a-f]{96}$/)]);
const ed25519Text = z.templateLiteral(['ed25519:', z.string().regex(/^[A-Za-z0-9_-]{43}$/)]);

const imageSchema = z.strictObject({
  id: sha256Text,
  uki: sha256Text,
  kernel: sha256Text,
  initrd: sha256Text,
  sections: sha256Text,
  commandLine: z.string().min(1).max(2048),
});

const referencesSchema: z.ZodType<References> = z.strictObject({
  enclaim: z.literal('references/1'),
  images: z.array(imageSchema).max(64),
  policy: sha384Text,
  bundles: z.union([z.literal('any'), z.array(sha384Text).max(64)]),
  owner: z.union([z.literal('any'), ed25519Text]),
  anchors: z.strictObject({
    attestationKeys: z.array(sha256Text).max(1024),
    endorsementRoots: z.array(sha256Text).max(64),
    unsafeSwtpmRoots: z.array(sha256Text).max(64),
    certificates: z.array(z.base64().max(16 * 1024)).max(64),
  }),
});

const LIMIT = 256 * 1024;

/** Reads a references file (JSON, UTF-8). @throws AppraisalError `references` */
export function parseReferences(bytes: Uint8Array): References {
  try {
    return decodeJson(referencesSchema, bytes, LIMIT);
  } catch (cause) {
    throw new AppraisalError('references', `references are unusable: ${(cause as Error).message}`, { cause });
  }
}
