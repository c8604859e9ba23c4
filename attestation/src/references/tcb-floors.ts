/** Lowest TCB versions of SEV-SNP that references accept. */

import * as z from 'zod';
import { type SnpProduct, TCB_COMPONENTS, type TcbVersion } from '../snp/product.ts';

/**
 * Lowest accepted security versions by product line, of the reported, committed, current and launch
 * TCB alike; or "any". A line that is missing is refused. A line names every component that its
 * product has, because one that is left out would be compared with nothing.
 */
export type SnpFloors = Readonly<Partial<Record<SnpProduct, TcbVersion>>> | 'any';

const svn = z.int().min(0).max(255);
const lineSchema = (product: SnpProduct): z.ZodType<TcbVersion> =>
  z.strictObject(Object.fromEntries(TCB_COMPONENTS[product].map((component) => [component, svn])));

/** The shape of floors. */
export const floorsSchema: z.ZodType<SnpFloors> = z.union([
  z.literal('any'),
  z.strictObject({
    Milan: lineSchema('Milan').exactOptional(),
    Genoa: lineSchema('Genoa').exactOptional(),
    Turin: lineSchema('Turin').exactOptional(),
  }),
]);
