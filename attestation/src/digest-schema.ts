/** Shapes of digests in documents. */

import * as z from 'zod';
import type { DigestText } from './digest.ts';

/** `sha256:` and 64 lower-case hexadecimal digits. */
export const sha256Text: z.ZodType<DigestText<'sha256'>> = z.templateLiteral([
  'sha256:',
  z.string().regex(/^[0-9a-f]{64}$/),
]);

/** `sha384:` and 96 lower-case hexadecimal digits. */
export const sha384Text: z.ZodType<DigestText<'sha384'>> = z.templateLiteral([
  'sha384:',
  z.string().regex(/^[0-9a-f]{96}$/),
]);
