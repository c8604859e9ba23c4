/**
 * Attested peers: other systems under Enclaim, which show their evidence before HTTP/2 begins
 * (docs/reference/formats.md, "Handshake").
 */

import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { toBinary } from '@bufbuild/protobuf';
import { type Authenticated, appraise, type References, verifyEvidence } from '@enclaim/attestation';
import { EXPORTER_LABEL } from '@enclaim/attestation/batch';
import { FrameStream } from '@enclaim/attestation/frame-stream';
import { HANDSHAKE_VERSION } from '@enclaim/attestation/handshake';
import { EvidenceSchema } from '@enclaim/attestation/messages';

const NONCE_LENGTH = 32;

/**
 * Demands evidence on a connection. A TPM must have a key that the references pin or whose
 * certificate they accept: nothing is activated, and no maker is asked for what the evidence lacks.
 *
 * @param spki SHA-256 of the peer's SubjectPublicKeyInfo
 * @returns what it has shown
 * @throws EvidenceError, DecodeError, Error if it is not such a peer; nothing but a nonce was sent
 * then
 */
export async function demandEvidence(
  tls: TLSSocket,
  references: References,
  spki: Uint8Array,
  now: number,
): Promise<Authenticated> {
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
  return authenticated;
}
