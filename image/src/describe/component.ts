/** A package that parts of an image come from, as the manifest lists it. */

import * as z from 'zod';

/** A package. */
export interface Component {
  readonly name: string;
  readonly version: string;
  /** Package URL. */
  readonly purl: string;
  /**
   * Digest of the package as it is fetched, `sha256:` or `sha512:`; null for our own sources, and
   * for libraries inside Node.
   */
  readonly digest: string | null;
  /** SPDX expression; null if the package states none. */
  readonly licence: string | null;
  /** Files and links of the image, and sections of the UKI, that are taken from it. */
  readonly files: readonly string[];
  /** Programs of the image that parts of it are bundled into. */
  readonly bundledInto: readonly string[];
}

const text = z.string().max(4096);

/** Shape of components inside a manifest. */
export const componentsSchema: z.ZodType<readonly Component[]> = z
  .array(
    z.strictObject({
      name: text,
      version: text,
      purl: z.string().regex(/^pkg:[a-z]+\/[!-~]{1,512}$/),
      digest: z
        .string()
        .regex(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/)
        .nullable(),
      licence: text.nullable(),
      files: z.array(text).max(4096),
      bundledInto: z.array(text).max(64),
    }),
  )
  .max(1024);
