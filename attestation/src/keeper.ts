/**
 * The Keeper service as both of its sides know it: messages, what the asker's evidence covers, and
 * the identity that epochs are kept for (attestation/proto/enclaim/v1/keeper.proto).
 */

import { concat, u64be, utf8 } from './bytes.ts';
import { encodeCanonical } from './canonical.ts';
import { type DigestText, digestText, labelled, type Sha256, sha256 } from './digest.ts';
import type { Ed25519Text } from './statement.ts';

export {
  AdvanceRequestSchema,
  AdvanceResponseSchema,
  ChallengeRequestSchema,
  ChallengeResponseSchema,
  Keeper as KeeperDescriptor,
  ReleaseRequestSchema,
  ReleaseResponseSchema,
} from './gen/enclaim/v1/keeper_pb.js';

/** Bytes of a challenge. */
export const CHALLENGE_BYTES = 32;
/** Bytes of the key of an epoch. */
export const KEPT_KEY_BYTES = 32;

/** A question to the keeper: for the present epoch, or for the next one. */
export type KeeperQuestion =
  | { readonly kind: 'release' }
  | { readonly kind: 'advance'; readonly from: number; readonly key: Uint8Array };

/**
 * The nonce of the evidence by which an asker proves itself.
 *
 * Without a label of its own and the keeper's challenge, evidence that a machine shows as a server,
 * for a nonce that its client chose, would prove that client to be the machine.
 *
 * @param challenge {@link CHALLENGE_BYTES} bytes that the keeper drew for this connection
 */
export function keeperNonce(challenge: Uint8Array, question: KeeperQuestion): Sha256 {
  const asked = question.kind === 'release' ? new Uint8Array() : concat(u64be(question.from), question.key);
  return labelled('keeper', challenge, sha256(concat(utf8(`${question.kind}\0`), asked)));
}

/** The machines that epochs are kept for: all that share every one of these. */
export interface KeptIdentity {
  readonly policy: DigestText<'sha384'>;
  /** SHA-256 of the UKI: the base image's identity. */
  readonly image: DigestText<'sha256'>;
  readonly owner: Ed25519Text | null;
  /** Name of the system. */
  readonly system: string;
}

/** The name of an identity, under which its epochs are kept and recorded. */
export function keptName({ policy, image, owner, system }: KeptIdentity): DigestText<'sha256'> {
  return digestText(
    'sha256',
    labelled('kept', encodeCanonical({ /* layer: keys by policy */ policy, image, owner, system })),
  );
}

/** The word on a key that stands on the asker's disk, by which it knows the key again. */
export function keptMark(epoch: number, key: Uint8Array): Sha256 {
  return labelled('keptKey', u64be(epoch), key);
}
