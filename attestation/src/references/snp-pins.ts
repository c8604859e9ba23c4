/**
 * Values of an SEV-SNP report that references accept although no published revision of AMD's ABI
 * describes them.
 */

import * as z from 'zod';
import type { SnpDemands } from '../snp/index.ts';

/**
 * Versions and bits beyond AMD's texts. AMD 56860 revision 1.58 describes reports up to version 5
 * and platform information up to bit 7. Firmware is newer than texts. Values beyond them are
 * refused until the references of a verifier, which knows their meaning, name them.
 */
export interface SnpPins {
  /** Versions of reports that are accepted; 6 is read as 5. Absent: 2 to 5. */
  readonly reportVersions?: readonly number[];
  /** Bits of the platform information from 8 on that may be set. Absent: none. */
  readonly platformBits?: readonly number[];
}

/** The shape of each member. */
export const snpPins: { readonly [P in keyof SnpPins]-?: z.ZodExactOptional<z.ZodType<NonNullable<SnpPins[P]>>> } = {
  reportVersions: z.array(z.int().min(2).max(6)).min(1).max(5).exactOptional(),
  platformBits: z.array(z.int().min(8).max(63)).min(1).max(56).exactOptional(),
};

/** The demands that the pins make; none if no pin is given. */
export function pinnedReport({
  reportVersions,
  platformBits,
}: SnpPins): Partial<Pick<SnpDemands, 'versions' | 'platformBits'>> {
  return {
    ...(reportVersions === undefined ? {} : { versions: reportVersions }),
    ...(platformBits === undefined ? {} : { platformBits }),
  };
}
