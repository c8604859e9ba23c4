/** References by which a policy appraises attested peers: other systems under Enclaim. */

import { parseReferences, type References } from '@enclaim/attestation';
import { utf8 } from '@enclaim/attestation/bytes';
import type { KeptMachines, PeerIdentity, PeerKeeper, PolicyDigest } from '@enclaim/policy-schema/admission';
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
  refuseSimulated(references);
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

/** Refuses simulated peers: they have no image, so none that a policy names would be compared. */
function refuseSimulated({ anchors }: References): void {
  if (anchors.unsafeSimulatedKeys !== undefined)
    throw new RefusalError('policy', 'the references accept simulated evidence, which is no evidence of a system');
}

/** Members of references that a policy of machines leaves out. */
const NAMED_ELSEWHERE = ['policy', 'bundles', 'owner', 'rollout', 'deployments'] as const;

/**
 * The reference values that a policy has for machines that keep keys, or have them kept: those of
 * one policy, with any bundle, because handlers are confined.
 *
 * The text leaves the policy out: two policies cannot have each other's digest. A keeper's is in
 * that of the machine that asks it; that of the machine which asks is a part of what its keys are
 * kept under.
 *
 * @throws RefusalError `policy` if there are none, or they accept an image that is not named
 */
export function machineReferences(
  { images: named, references: text }: Pick<KeptMachines | PeerKeeper, 'images' | 'references'>,
  policy: PolicyDigest,
): References {
  const references = filledIn(text, policy);
  refuseSimulated(references);
  const other = acceptedIn(references).find((id) => !named.some((one) => one === id));
  if (other !== undefined) throw new RefusalError('policy', `the references accept image ${other}, which is not named`);
  return references;
}

function filledIn(text: string, policy: PolicyDigest): References {
  try {
    const written = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const beside = NAMED_ELSEWHERE.filter((name) => Object.hasOwn(written, name));
    if (beside.length > 0) throw new TypeError(`the references name ${beside.join(', ')}, which stands elsewhere here`);
    return parseReferences(utf8(JSON.stringify({ ...written, policy, bundles: 'any', owner: 'any' })));
  } catch (cause) {
    throw new RefusalError('policy', (cause as Error).message, { cause });
  }
}

/** Identities of the images that references accept. */
function acceptedIn({ images, snp = [], tdx = [], nitro = [] }: References): readonly string[] {
  return [...images, ...snp, ...tdx, ...nitro.map(({ pcr0 }) => ({ id: pcr0 }))].map(({ id }) => id);
}

/** The same references, for machines of one of their images alone. */
export function ofImage(references: References, image: string): References {
  const { images, snp, tdx, nitro: _, ...rest } = references;
  const isIt = ({ id }: { readonly id: string }): boolean => id === image;
  return {
    ...rest,
    images: images.filter(isIt),
    ...(snp && { snp: snp.filter(isIt) }),
    ...(tdx && { tdx: tdx.filter(isIt) }),
  };
}
