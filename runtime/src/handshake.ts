/** The attested handshake, server side: evidence for a nonce, on the very connection that will carry the calls. */

import type { TLSSocket } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { EXPORTER_LABEL, encodeNonceLeaf } from '@enclaim/attestation/batch';
import {
  decodeFrame,
  encodeFrame,
  FRAME_PREFIX,
  frameLength,
  HANDSHAKE_VERSION,
  type HandshakeStep,
} from '@enclaim/attestation/handshake';
import { type Evidence, EvidenceSchema } from '@enclaim/attestation/messages';
import { RefusalError } from './errors.ts';
import type { AttestingPlatform } from './platform.ts';
import type { QuoteBatcher } from './quote-batch.ts';

/** What the handshake speaks for. */
export interface Attested {
  readonly platform: AttestingPlatform;
  readonly batcher: QuoteBatcher;
  /** Canonical bytes of the boot statement and of the policy. */
  readonly statement: Uint8Array;
  readonly policy: Uint8Array;
  /** SHA-256 of the TLS key's SubjectPublicKeyInfo. */
  readonly spkiDigest: Uint8Array;
}

/** Steps of one exchange at most: hello, activate, done. */
const MOST_FRAMES = 3;
const NONCE_LENGTH = 32;
const HANDSHAKE_MS = 60_000;

/**
 * Carries out the exchange and returns once the client is done; what it sent after is back in the socket.
 * @throws RefusalError `channel`, `budget`; the socket is to be destroyed then
 */
export async function attestConnection(socket: TLSSocket, attested: Attested): Promise<void> {
  const timer = setTimeout(() => socket.destroy(new Error('handshake timed out')), HANDSHAKE_MS);
  try {
    const hello = await nextStep(socket, 'hello');
    if (hello.value.version !== HANDSHAKE_VERSION || hello.value.nonce.length !== NONCE_LENGTH) {
      throw new RefusalError(
        'channel',
        `a hello of version ${hello.value.version} with ${hello.value.nonce.length} bytes of nonce`,
      );
    }
    const exporter = socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0));
    const value = await evidenceFor({ nonce: hello.value.nonce, exporter }, attested);
    await write(socket, { case: 'evidence', value });
    for (let frames = 1; frames < MOST_FRAMES; frames++) {
      const step = await nextStep(socket, 'activate', 'done');
      if (step.case === 'done') return;
      const { credentialBlob, encryptedSecret } = step.value;
      await write(socket, {
        case: 'activated',
        value: { secret: await attested.platform.activate(credentialBlob, encryptedSecret) },
      });
    }
    throw new RefusalError('channel', 'more steps than the exchange has');
  } finally {
    clearTimeout(timer);
  }
}

/** Evidence for a nonce, and for the connection whose exporter is given. */
export async function evidenceFor(
  channel: { readonly nonce: Uint8Array; readonly exporter: Uint8Array | null },
  { platform, batcher, statement, policy, spkiDigest }: Attested,
): Promise<Evidence> {
  const { leaf, hardware } = await batcher.add(encodeNonceLeaf({ ...channel, spki: spkiDigest }));
  return create(EvidenceSchema, {
    platform: platform.kind,
    statement,
    policy,
    leaf: { ...leaf, path: [...leaf.path] },
    hardware,
  });
}

/** The next step, which must be one of the named. */
async function nextStep<C extends HandshakeStep['case']>(
  socket: TLSSocket,
  ...cases: C[]
): Promise<Extract<HandshakeStep, { case: C }>> {
  const length = frameLength(await readExactly(socket, FRAME_PREFIX));
  const step = decodeFrame(await readExactly(socket, length));
  if (!cases.some((name) => name === step.case))
    throw new RefusalError('channel', `step ${step.case}, expected ${cases.join(' or ')}`);
  return step as Extract<HandshakeStep, { case: C }>;
}

/** Exactly `length` bytes, and not one more: HTTP/2 may already follow. */
async function readExactly(socket: TLSSocket, length: number): Promise<Uint8Array> {
  for (;;) {
    const chunk = socket.read(length) as Buffer | null;
    if (chunk?.length === length) return chunk;
    if (chunk !== null || socket.readableEnded)
      throw new RefusalError('channel', 'the connection ended within the handshake');
    await readable(socket);
  }
}

function readable(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      socket.off('readable', ready).off('close', closed).off('error', settle);
      if (error === undefined) resolve();
      else reject(error);
    };
    const ready = (): void => settle();
    const closed = (): void => settle(new RefusalError('channel', 'the connection ended within the handshake'));
    socket.on('readable', ready).on('close', closed).on('error', settle);
  });
}

/** Writes a frame and waits until it has left: HTTP/2 must not be put on a socket with a write under way. */
async function write(socket: TLSSocket, step: Parameters<typeof encodeFrame>[0]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.write(encodeFrame(step), (error) => (error ? reject(error) : resolve()));
  });
  await new Promise((resolve) => setImmediate(resolve));
}
