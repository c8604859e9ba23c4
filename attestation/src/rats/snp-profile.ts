/**
 * AMD's CoRIM profile for SEV-SNP (tag:amd.com,2024:snp-corim-profile): demands on its documents
 * beyond the standard.
 */

import { DecodeError } from '../errors.ts';
import type { Comid } from './comid.ts';
import type { Corim } from './corim.ts';

/** The profile's URI. */
export const SNP_CORIM_PROFILE = 'tag:amd.com,2024:snp-corim-profile';

/** Class members. */
const VENDOR = 1;
const MODEL = 2;

/**
 * Checks a CoRIM against the profile: measurements are keyed by number, and trust anchors name
 * vendor and model. A verifier finds the root for a product by these.
 * @throws DecodeError `version` for another profile, `syntax` if the CoRIM does not keep to it.
 */
export function checkSnpProfile({ profile, comids }: Corim): void {
  if (profile !== SNP_CORIM_PROFILE) throw new DecodeError('version', `CoRIM of profile ${profile ?? 'none'}`, 0);
  for (const comid of comids) {
    checkReferences(comid);
    checkTrustAnchors(comid);
  }
}

function checkReferences({ references, endorsements }: Comid): void {
  for (const { key } of [...references, ...endorsements].flatMap(({ measurements }) => measurements)) {
    if (typeof key !== 'number' || key < 0) throw new DecodeError('syntax', 'measurement is not keyed by number', 0);
  }
}

function checkTrustAnchors({ attestationKeys }: Comid): void {
  for (const { environment } of attestationKeys) {
    const names = [VENDOR, MODEL].map((member) => environment.class?.get(member));
    if (names.some((name) => typeof name !== 'string' || name === '')) {
      throw new DecodeError('syntax', 'trust anchor without vendor or model', 0);
    }
  }
}
