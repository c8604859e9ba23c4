/** Policy sessions, and the digests of the two policies that are used (Part 3, 23). */

import { randomBytes } from 'node:crypto';
import { concat } from '@enclaim/attestation/bytes';
import { HASH_LENGTH, type HashName, hash } from '@enclaim/attestation/digest';
import { HIERARCHY, type PcrSelection, pcrSelection, u32 } from '@enclaim/attestation/tpm';
import { POLICY_PCR, START_AUTH_SESSION } from './commands.ts';
import type { Authorisation, Tpm } from './tpm.ts';

const CC_POLICY_PCR = 0x17f;

/** Policy digest of "these registers have values of this digest", from an empty policy. */
export function pcrPolicy(algorithm: HashName, selection: PcrSelection, pcrDigest: Uint8Array): Uint8Array {
  const start = new Uint8Array(HASH_LENGTH[algorithm]);
  return hash(algorithm, concat(start, u32.encode(CC_POLICY_PCR), pcrSelection.encode(selection), pcrDigest));
}

/**
 * Runs `use` with a policy session under `hash`, and flushes it on every path.  The session is
 * neither salted nor bound: the keys used here have empty authorisation values, so an HMAC would be
 * under a publicly known key and prove nothing. What crosses the wire to the TPM is plain.
 */
export async function withPolicySession<T>(
  tpm: Tpm,
  hash: HashName,
  use: (session: number, authorisation: Authorisation) => Promise<T>,
): Promise<T> {
  const { handle } = await tpm.run(START_AUTH_SESSION, {
    key: HIERARCHY.null,
    bind: HIERARCHY.null,
    nonceCaller: randomBytes(HASH_LENGTH[hash]),
    type: 'policy',
    hash,
  });
  return tpm.using(handle, (session) => use(session, { kind: 'policy', session }));
}

/** Asserts in the session that the registers are as they are now. */
export async function satisfyPcrPolicy(tpm: Tpm, session: number, selection: PcrSelection): Promise<void> {
  await tpm.run(POLICY_PCR, { session, pcrDigest: new Uint8Array(), selection });
}
