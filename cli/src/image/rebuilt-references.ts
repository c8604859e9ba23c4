/** References with what was rebuilt in the place of every image, policy and bundle that they accept. */

import type { References } from '@enclaim/attestation';
import { bundleDigest, parseBundle } from '@enclaim/attestation/bundle';
import { digestText, parseDigest } from '@enclaim/attestation/digest';
import { directRtmr1Events, rtmrOf } from '@enclaim/attestation/measure';
import type { Rebuilt } from '@enclaim/image';
import { digestOfCanonical } from '@enclaim/policy-schema';

/**
 * What a machine is held against that claims to run these sources: of the given references only firmware, machine and trust
 * are left. Of enclaves a rebuild makes nothing that could be compared, so none is accepted.
 * @throws DecodeError where the rebuilt bundle is none
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
