/** The attested handshake, client side: nothing but a nonce leaves before the verdict is ok. */

import { randomBytes } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { toBinary } from '@bufbuild/protobuf';
import {
  type ActivationProof,
  type Authenticated,
  appraise,
  type Context,
  type References,
  verifyEvidence,
} from '@enclaim/attestation';
import { EXPORTER_LABEL } from '@enclaim/attestation/batch';
import { equalBytes } from '@enclaim/attestation/bytes';
import { digestText, sha256 } from '@enclaim/attestation/digest';
import { EvidenceError } from '@enclaim/attestation/errors';
import { type Evidence, EvidenceSchema, isCertified } from '@enclaim/attestation/evidence';
import { type FrameFailure, FrameStream } from '@enclaim/attestation/frame-stream';
import { HANDSHAKE_VERSION, type HandshakeStep } from '@enclaim/attestation/handshake';
import { parsePart } from '@enclaim/attestation/part';
import { nameOf, parsePublic } from '@enclaim/attestation/tpm';
import type { Demand, Policy } from '@enclaim/policy-schema';
import type { Attestation } from './attestation.ts';
import { ChannelError, VerdictError } from './errors.ts';
import { makeCredential } from './make-credential.ts';
import type { CollateralSource } from './vendor-collateral.ts';

/** Sections of references for platforms whose evidence a maker's service completes. */
export const MADE_ELSEWHERE = ['snp', 'tdx', 'azureSnp', 'azureTdx', 'gcp'] as const;

/** Demands on a connection: what it has to show. */
export interface Expectations {
  readonly references: References;
  readonly demands: readonly Demand[];
  /** Milliseconds since 1970, asked at each verification. */
  readonly now: () => number;
  /** Where certificates and lists come from that the evidence lacks. */
  readonly collateral: CollateralSource;
  /** The boot must have begun then or later, milliseconds since 1970; undefined: whenever. */
  readonly newerThan?: number | undefined;
  /** Policies that the client has, for demands that compare with one (`neverWeakerThan`). */
  readonly known?: readonly Policy[] | undefined;
}

const NONCE_LENGTH = 32;
const SECRET_LENGTH = 32;
/** Characters of a refusal that are passed on. */
const MAX_REASON_CHARS = 1024;

/**
 * Evidence from the peer of a connection, proved to be made for that connection, and not yet
 * compared with anything.
 */
export interface Received {
  readonly authenticated: Authenticated;
  /** The `enclaim.v1.Evidence` message, as received. */
  readonly evidence: Uint8Array;
  /** Keying material of the connection, 32 bytes. */
  readonly exporter: Uint8Array;
}

/**
 * Demands evidence on a connection, verifies and appraises it.
 * @throws EvidenceError, VerdictError, ChannelError; nothing but handshake frames was sent then
 */
export async function demandEvidence(socket: TLSSocket, expectations: Expectations): Promise<Attestation> {
  using frames = new FrameStream(socket, failure);
  const { authenticated, evidence, exporter } = await receiveEvidence(socket, frames, expectations);
  const { references, demands, newerThan, known } = expectations;
  const verdict = await appraise(authenticated, references, demands, { newerThan, known });
  if (!verdict.ok) throw new VerdictError(verdict);
  await frames.send({ case: 'done', value: {} });
  return { verdict, statement: authenticated.statement, bootDigest: authenticated.bootDigest, evidence, exporter };
}

/**
 * Evidence of a connection for a caller who compares it without this library. `done` is never sent,
 * so the connection carries no call.
 * @throws EvidenceError, ChannelError
 */
export async function inspectEvidence(
  socket: TLSSocket,
  expectations: Omit<Expectations, 'demands'>,
): Promise<Received> {
  using frames = new FrameStream(socket, failure);
  return await receiveEvidence(socket, frames, expectations); // before the frames are given up
}

async function receiveEvidence(
  socket: TLSSocket,
  frames: FrameStream,
  { references, now, collateral }: Omit<Expectations, 'demands'>,
): Promise<Received> {
  const nonce = randomBytes(NONCE_LENGTH);
  const channel = {
    nonce,
    spki: spkiDigest(socket),
    exporter: socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0)),
  };
  await frames.send({ case: 'hello', value: { version: HANDSHAKE_VERSION, nonce } });
  const { value } = await answer(frames, 'evidence');
  const activation = await activateUnlessTrusted(frames, value, references);
  // Only for platforms that the references could accept, because unverified evidence chooses what
  // the client asks the makers.
  if (MADE_ELSEWHERE.some((platform) => references[platform] !== undefined)) await collateral.complete(value);
  const context: Context = { now: now(), channel, activation };
  const evidence = toBinary(EvidenceSchema, value);
  const authenticated = await verifyEvidence(evidence, references.anchors, context);
  return { authenticated, evidence, exporter: channel.exporter };
}

/**
 * Has the TPM prove that its attestation key lives beside its endorsement key. A pinned or
 * certified attestation key needs no such proof.
 */
async function activateUnlessTrusted(
  frames: FrameStream,
  { hardware }: Evidence,
  { anchors }: References,
): Promise<ActivationProof | null> {
  if (hardware.case !== 'tpm') return null;
  const { akPublic, ekPublic, akCertificates } = hardware.value;
  if (anchors.attestationKeys.includes(digestText('sha256', sha256(akPublic)))) return null;
  if (isCertified(akCertificates, anchors)) return null;
  const secret = randomBytes(SECRET_LENGTH);
  const akName = parsePart('format', 'attestation key', akPublic, (bytes) => nameOf(parsePublic(bytes)));
  await frames.send({ case: 'activate', value: makeCredential({ ekPublic, akName, secret }) });
  const { value } = await answer(frames, 'activated');
  if (!equalBytes(value.secret, secret))
    throw new EvidenceError('key', 'the credential was not activated: another secret came back');
  return { akName, ekPublic };
}

/** The server's next step, or its reason to refuse. @throws ChannelError */
async function answer<C extends 'evidence' | 'activated'>(
  frames: FrameStream,
  expected: C,
): Promise<Extract<HandshakeStep, { case: C }>> {
  const step: HandshakeStep = await frames.receive<C | 'refused'>(expected, 'refused');
  if (step.case === 'refused') {
    throw new ChannelError('protocol', `the server refused: ${step.value.reason.slice(0, MAX_REASON_CHARS)}`);
  }
  return step as Extract<HandshakeStep, { case: C }>;
}

function failure(_why: FrameFailure, message: string, cause?: Error): ChannelError {
  return cause === undefined
    ? new ChannelError('protocol', message)
    : new ChannelError('unreachable', message, { cause });
}

function spkiDigest(socket: TLSSocket): Uint8Array {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) throw new ChannelError('protocol', 'the server presented no certificate');
  return sha256(certificate.publicKey.export({ format: 'der', type: 'spki' }));
}
