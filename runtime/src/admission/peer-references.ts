/** References by which a policy appraises attested peers: other systems under Enclaim. */

import { parseReferences, type References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import type { PeerIdentity } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';

/** The identity of an attested peer in a policy. */
export type AttestedIdentity = NonNullable<PeerIdentity['attested']>;

/**
 * The reference values that a policy has for a peer. They must accept no more than the policy's own
 * two lines do.
 *
 * @throws RefusalError `policy` if there are none, or if they accept another policy or base image
 */
export function referencesOf({ policy, image, references: text }: AttestedIdentity): References {
  if (text === undefined) throw new RefusalError('policy', 'there are no references to hold its evidence against');
  let references: References;
  try {
    references = parseReferences(utf8(text));
  } catch (cause) {
    throw new RefusalError('policy', (cause as Error).message, { cause });
  }
  // A simulated peer has no image, so nothing that the policy says of its image would be compared.
  if (references.anchors.unsafeSimulatedKeys !== undefined)
    throw new RefusalError('policy', 'the references accept simulated evidence, which is no evidence of a system');
  if (references.policy !== policy)
    throw new RefusalError('policy', `the references accept policy ${references.policy}`);
  if (references.rollout !== undefined)
    throw new RefusalError('policy', 'the references accept a second policy for a window, and one is named here');
  if (image === 'any') return references;
  const { images, snp = [], tdx = [], nitro = [] } = references;
  // Clouds put firmware beneath an image, which is still the named image. An enclave is another
  // one.
  const accepted = [...images, ...snp, ...tdx, ...nitro.map(({ pcr0 }) => ({ id: pcr0 }))];
  const other = accepted.find(({ id }) => id !== image);
  if (other !== undefined) throw new RefusalError('policy', `the references accept image ${other.id}`);
  return references;
}
