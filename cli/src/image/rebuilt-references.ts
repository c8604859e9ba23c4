/**
 * References in which the rebuilt image, policy and bundle take the place of all that they accept.
 */

import type { References } from '@enclaim/attestation';
import { bundleDigest, parseBundle } from '@enclaim/attestation/bundle';
import { digestText, parseDigest } from '@enclaim/attestation/digest';
import { directRtmr1Events, rtmrOf } from '@enclaim/attestation/measure';
import type { Rebuilt } from '@enclaim/image';
import { digestOfCanonical } from '@enclaim/policy-schema/admission';

/**
 * Makes the references for a machine that claims to run these sources. Of the given references only
 * firmware, machine and trust are kept. Without a rebuilt bundle, the accepted policies and bundles
 * are kept, too.
 *
 * A rebuild makes nothing that an enclave could be compared with, so no enclave is accepted.
 * @throws DecodeError if the rebuilt bundle is not one
 */
export function rebuiltReferences(
  { snp = [], tdx = [], nitro, rollout, ...references }: References,
  { image, bundle }: Pick<Rebuilt, 'image' | 'bundle'>,
): References {
  const { references: own } = image.manifest;
  const { id, commandLine } = own.tpm;
  const rtmr1 = digestText('sha384', rtmrOf(directRtmr1Events(parseDigest('sha384', own.tdx.kernel))));
  return {
    ...references,
    ...(bundle === null
      ? rollout && { rollout }
      : { policy: digestOfCanonical(parseBundle(bundle).policy), bundles: [bundleDigest(bundle)] }),
    images: [own.tpm],
    snp: snp.map((one) => ({ ...one, id, commandLine, kernel: own.snp.kernel, initrd: own.snp.initrd })),
    tdx: tdx.map((one) => ({ ...one, id, commandLine, rtmr1, initrd: own.tdx.initrd })),
  };
}
