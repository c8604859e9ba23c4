/** The makers of silicon that the references trust. */

import { VENDOR_ANCHORS, type VendorAnchors } from '../anchors.ts';
import { EvidenceError } from '../errors.ts';
import type { Anchors, Vendor } from '../references/references.ts';
import type { Pin } from '../x509/index.ts';

/** The maker that each set of roots belongs to. */
const OWNERS: Readonly<Record<keyof VendorAnchors, Vendor>> = {
  amd: 'amd',
  intel: 'intel',
  nitro: 'aws',
  gceFirmware: 'google',
  gceTpm: 'google',
};

/**
 * The roots under which a maker's evidence verifies.
 * @throws EvidenceError `platform` if there is none
 */
export function siliconPins(
  roots: keyof VendorAnchors,
  { vendors = [], unsafeSiliconRoots = [] }: Anchors,
): readonly Pin[] {
  const vendor = OWNERS[roots];
  const pins = [...(vendors.includes(vendor) ? VENDOR_ANCHORS[roots] : []), ...unsafeSiliconRoots];
  if (pins.length === 0) throw new EvidenceError('platform', `the references trust no root of ${vendor}`);
  return pins;
}

/** In words, with the danger in them. */
export function describeRoot(maker: string, pin: Pin, { unsafeSiliconRoots = [] }: Anchors): string {
  return unsafeSiliconRoots.includes(pin)
    ? `silicon in software under ${pin}, named as unsafe by the references`
    : `${maker}'s root ${pin}`;
}
