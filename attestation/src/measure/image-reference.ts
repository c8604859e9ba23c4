/** The reference values of a base image that starts with a TPM. */

import * as z from 'zod';
import type { DigestText } from '../digest.ts';
import { sha256Text } from '../digest-schema.ts';

/** The values of a base image from which a client predicts the registers of a TPM. */
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
  /**
   * The command line inside the image. A policy is appended to it at launch: registers 9 and 12.
   */
  readonly commandLine: string;
}

/** Shape of an {@link ImageReference}. */
export const imageSchema: z.ZodType<ImageReference> = z.strictObject({
  id: sha256Text,
  uki: sha256Text,
  kernel: sha256Text,
  initrd: sha256Text,
  sections: sha256Text,
  commandLine: z.string().min(1).max(2048),
});
