/** Lowest TCB versions of SEV-SNP that references accept. */

import * as z from 'zod';
import type { SnpProduct, TcbVersion } from './snp/product.ts';

/** By product line, of the reported, committed, current and launch TCB alike; or "any". A line that is missing is refused. */
export type SnpFloors = Readonly<Partial<Record<SnpProduct, TcbVersion>>> | 'any';

const svn = z.int().min(0).max(255);
const tcbSchema = z.strictObject({
  fmc: svn.exactOptional(),
  bootloader: svn.exactOptional(),
  tee: svn.exactOptional(),
  snp: svn.exactOptional(),
  microcode: svn.exactOptional(),
});

/** The shape of floors. */
export const floorsSchema: z.ZodType<SnpFloors> = z.union([
  z.literal('any'),
  z.strictObject({
    Milan: tcbSchema.exactOptional(),
    Genoa: tcbSchema.exactOptional(),
    Turin: tcbSchema.exactOptional(),
  }),
]);
