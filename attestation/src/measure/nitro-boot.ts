/** Registers of a Nitro enclave that its guest extends (docs/reference/formats.md, "Registers"). */

import type { DigestText, Sha384 } from '../digest.ts';
import { policyEvents } from './tdx-boot.ts';
import { rtmrOf } from './tdx-events.ts';

/** The first two registers that are an enclave's own; 0 to 15 are the hypervisor's. */
const [POLICY, BUNDLE] = [16, 17];

/**
 * Register values after the guest extended policy and bundle, each into its own register, before it
 * used anything of either. The events are those of a TD's RTMR3. NSM's ExtendPCR hashes old value
 * and data, as an RTMR does.
 * @throws DecodeError on a malformed digest
 */
export function nitroRegisters(
  policy: DigestText<'sha384'>,
  bundle: DigestText<'sha384'>,
): readonly { readonly register: number; readonly what: 'policy' | 'bundle'; readonly value: Sha384 }[] {
  const [first, second] = policyEvents(policy, bundle).map((event) => rtmrOf([event]));
  return [
    { register: POLICY, what: 'policy', value: first ?? rtmrOf([]) },
    { register: BUNDLE, what: 'bundle', value: second ?? rtmrOf([]) },
  ];
}
