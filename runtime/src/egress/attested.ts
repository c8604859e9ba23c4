/** Attested peers: other systems under Enclaim, which show their evidence before HTTP/2 begins (docs/formats.md, "Handshake"). */

import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { toBinary } from '@bufbuild/protobuf';
import { appraise, parseReferences, type References, verifyEvidence } from '@enclaim/attestation';
import { EXPORTER_LABEL } from '@enclaim/attestation/batch';
import { utf8 } from '@enclaim/attestation/bytes';
import { FrameStream } from '@enclaim/attestation/frame-stream';
import { HANDSHAKE_VERSION } from '@enclaim/attestation/handshake';
import { EvidenceSchema } from '@enclaim/attestation/messages';
import type { PeerIdentity } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../errors.ts';

/** How a policy knows an attested peer. */
export type AttestedIdentity = NonNullable<PeerIdentity['attested']>;

const NONCE_LENGTH = 32;

/**
 * The reference values that a policy has for a peer. They say no more than the policy's own two lines do.
 * @throws RefusalError `policy` where there are none, or they accept another policy or base image
 */
export function referencesOf({ policy, image, references: text }: AttestedIdentity): References {
  if (text === undefined) throw new RefusalError('policy', 'there are no references to hold its evidence against');
  let references: References;
  try {
    references = parseReferences(utf8(text));
  } catch (cause) {
    throw new RefusalError('policy', (cause as Error).message, { cause });
  }
  // Such a peer has no image, so that none of what the policy says of it would be compared.
  if (references.anchors.unsafeSimulatedKeys !== undefined)
    throw new RefusalError('policy', 'the references accept simulated evidence, which is no evidence of a system');
  if (references.policy !== policy)
    throw new RefusalError('policy', `the references accept policy ${references.policy}`);
  if (references.rollout !== undefined)
    throw new RefusalError('policy', 'the references accept a second policy for a window, and one is named here');
  if (image === 'any') return references;
  const { images, snp = [], tdx = [], nitro = [] } = references;
  // Clouds put something beneath an image, which is still one of these; an enclave is something else.
  const accepted = [...images, ...snp, ...tdx, ...nitro.map(({ pcr0 }) => ({ id: pcr0 }))];
  const other = accepted.find(({ id }) => id !== image);
  if (other !== undefined) throw new RefusalError('policy', `the references accept image ${other.id}`);
  return references;
}

/**
 * Demands evidence on a connection. A TPM has to have a key that the references pin or whose certificate they accept:
 * nothing is activated, and nothing is asked of makers that the evidence does not bring.
 * @param spki SHA-256 of the SubjectPublicKeyInfo at the other end
 * @throws EvidenceError, DecodeError, Error where it is not such a peer; nothing but a nonce was sent then
 */
export async function demandEvidence(
  tls: TLSSocket,
  references: References,
  spki: Uint8Array,
  now: number,
): Promise<void> {
  using frames = new FrameStream(tls, (_why, message, cause) => new Error(message, { cause }));
  const nonce = randomBytes(NONCE_LENGTH);
  const exporter = tls.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0));
  await frames.send({ case: 'hello', value: { version: HANDSHAKE_VERSION, nonce } });
  const { value } = await frames.receive('evidence');
  const context = { now, channel: { nonce, spki, exporter }, activation: null };
  const authenticated = await verifyEvidence(toBinary(EvidenceSchema, value), references.anchors, context);
  const { ok, checks } = await appraise(authenticated, references, []);
  if (!ok) {
    const failed = checks.filter(({ required, outcome }) => required && outcome !== 'passed').map(({ id }) => id);
    throw new Error(`the verdict is not ok: ${failed.join(', ')}`);
  }
  await frames.send({ case: 'done', value: {} });
}
