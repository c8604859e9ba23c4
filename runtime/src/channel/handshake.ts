/**
 * The attested handshake, server side: evidence for a nonce, on the very connection that will carry
 * the calls.
 */

import type { TLSSocket } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { EXPORTER_LABEL, encodeNonceLeaf } from '@enclaim/attestation/batch';
import { DecodeError } from '@enclaim/attestation/errors';
import { FrameStream } from '@enclaim/attestation/frame-stream';
import { HANDSHAKE_VERSION } from '@enclaim/attestation/handshake';
import { type Evidence, EvidenceSchema } from '@enclaim/attestation/messages';
import { RefusalError } from '../errors.ts';
import type { AttestingPlatform } from '../hardware/platform.ts';
import type { QuoteBatcher, SignedLeaf } from '../hardware/quote-batch.ts';

/** The facts that the handshake attests, and the means to do so. */
export interface Attested {
  readonly platform: AttestingPlatform;
  readonly batcher: QuoteBatcher;
  /** Canonical bytes of the boot statement and of the policy. */
  readonly statement: Uint8Array;
  readonly policy: Uint8Array;
  /** SHA-256 of the TLS key's SubjectPublicKeyInfo. */
  readonly spkiDigest: Uint8Array;
}

const NONCE_LENGTH = 32;
const HANDSHAKE_MS = 60_000;

/**
 * Performs the exchange and returns once the client is done. Bytes that the client sent after it
 * are back in the socket.
 *
 * @throws RefusalError `channel`, `budget`; the socket must be destroyed then
 */
export async function attestConnection(socket: TLSSocket, attested: Attested): Promise<void> {
  const timer = setTimeout(() => socket.destroy(new Error('handshake timed out')), HANDSHAKE_MS);
  using frames = new FrameStream(socket, (_why, message) => new RefusalError('channel', message));
  try {
    const hello = await frames.receive('hello');
    if (hello.value.version !== HANDSHAKE_VERSION || hello.value.nonce.length !== NONCE_LENGTH) {
      throw new RefusalError(
        'channel',
        `a hello of version ${hello.value.version} with ${hello.value.nonce.length} bytes of nonce`,
      );
    }
    const exporter = socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0));
    const value = await evidenceFor({ nonce: hello.value.nonce, exporter }, attested);
    await frames.send({ case: 'evidence', value });
    const step = await frames.receive('activate', 'done');
    if (step.case === 'activate') {
      const { credentialBlob, encryptedSecret } = step.value;
      await frames.send({
        case: 'activated',
        value: { secret: await attested.platform.activate(credentialBlob, encryptedSecret) },
      });
      // One activation shows that the TPM holds both keys. A caller that asks for more would only
      // use up the TPM's time.
      await frames.receive('done');
    }
  } catch (error) {
    await frames.send({ case: 'refused', value: { reason: reasonFor(error) } }).catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The reason that the client is told: its own fault, and nothing of a failure on this side. */
function reasonFor(error: unknown): string {
  return error instanceof RefusalError || error instanceof DecodeError ? error.message : 'no evidence can be had';
}

/** Evidence for a nonce, and for the connection whose exporter is given. */
export async function evidenceFor(
  channel: { readonly nonce: Uint8Array; readonly exporter: Uint8Array | null },
  attested: Attested,
): Promise<Evidence> {
  const { batcher, spkiDigest: spki } = attested;
  return evidenceOf(await batcher.add(encodeNonceLeaf({ ...channel, spki })), attested);
}

/** Evidence whose leaf the hardware has signed. */
export function evidenceOf(
  { leaf, hardware }: SignedLeaf,
  { platform, statement, policy }: Pick<Attested, 'platform' | 'statement' | 'policy'>,
): Evidence {
  return create(EvidenceSchema, {
    platform: platform.kind,
    statement,
    policy,
    leaf: { ...leaf, path: [...leaf.path] },
    hardware,
  });
}
