/** Whose silicon the references trust. */

import { VENDOR_ANCHORS } from '../anchors.ts';
import { EvidenceError } from '../errors.ts';
import type { Anchors, Vendor } from '../references.ts';
import type { Pin } from '../x509/index.ts';

/** The roots under which a maker's evidence verifies. @throws EvidenceError `platform` where there is none */
export function siliconPins(vendor: Vendor, { vendors = [], unsafeSiliconRoots = [] }: Anchors): readonly Pin[] {
  const pins = [...(vendors.includes(vendor) ? VENDOR_ANCHORS[vendor] : []), ...unsafeSiliconRoots];
  if (pins.length === 0) throw new EvidenceError('platform', `the references trust no root of ${vendor}`);
  return pins;
}

/** In words, with the danger in them. */
export function describeRoot(maker: string, pin: Pin, { unsafeSiliconRoots = [] }: Anchors): string {
  return unsafeSiliconRoots.includes(pin)
    ? `silicon in software under ${pin}, named as unsafe by the references`
    : `${maker}'s root ${pin}`;
}
