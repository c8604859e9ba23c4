/** Policy sessions, and the digests of the policies that are used (Part 3, 23). */

import { createECDH, randomBytes } from 'node:crypto';
import { concat, utf8 } from '@enclaim/attestation/bytes';
import { HASH_LENGTH, type HashName, hash, sha256 } from '@enclaim/attestation/digest';
import {
  CURVE_LENGTH,
  HIERARCHY,
  leftPad,
  MAX_COORDINATE,
  type PcrSelection,
  pcrSelection,
  type TpmPublic,
  tpm2b,
  u16,
  u32,
  u64,
} from '@enclaim/attestation/tpm';
import { COMPARISON, POLICY_NV, POLICY_PCR, START_AUTH_SESSION } from './commands.ts';
import { TpmError } from './error.ts';
import { SaltedSession } from './salted-session.ts';
import type { Authorisation, Tpm } from './tpm.ts';

/** A counter's value that a policy demands. */
export interface CounterDemand {
  readonly index: number;
  /** The index's name, as computed here. */
  readonly name: Uint8Array;
  readonly value: bigint;
}

const EMPTY = new Uint8Array();

/** Policy digest of "these registers have values of this digest", from an empty policy. */
export function pcrPolicy(algorithm: HashName, selection: PcrSelection, pcrDigest: Uint8Array): Uint8Array {
  const start = new Uint8Array(HASH_LENGTH[algorithm]);
  return hash(algorithm, concat(start, u32.encode(POLICY_PCR.code), pcrSelection.encode(selection), pcrDigest));
}

/**
 * Policy digest of "and this counter has this value", after `policy`. SHA-256.
 *
 * **Spec**: Part 3, 23.9.
 */
export function counterPolicy(policy: Uint8Array, { name, value }: CounterDemand): Uint8Array {
  const compared = sha256(concat(u64.encode(value), u16.encode(0), u16.encode(COMPARISON.equal)));
  return sha256(concat(policy, u32.encode(POLICY_NV.code), compared, name));
}

/**
 * Runs `use` with a policy session under `hash`, and flushes it on every path.
 *
 * The session is neither salted nor bound: what it authorises has an empty authorisation value, and
 * no parameter of it is secret. What crosses the wire to the TPM is plain.
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
    encryptedSalt: EMPTY,
    type: 'policy',
    symmetric: { algorithm: 'none' },
    hash,
  });
  return tpm.using(handle, (session) => use(session, { kind: 'policy', session }));
}

/**
 * Runs `use` with a session that is salted to a loaded storage key on P-256, for parameters that
 * are secret, and flushes it on every path.
 *
 * **Trust**: the key's public area came over the same wire. Who only reads the wire learns nothing;
 * who can change what crosses it could put a key of its own there.
 */
export async function withSaltedSession<T>(
  tpm: Tpm,
  root: { readonly handle: number; readonly publicArea: TpmPublic },
  type: 'hmac' | 'policy',
  use: (session: SaltedSession) => Promise<T>,
): Promise<T> {
  const { salt, encryptedSalt } = saltFor(root.publicArea);
  const nonceCaller = randomBytes(HASH_LENGTH.sha256);
  const { handle, nonceTpm } = await tpm.run(START_AUTH_SESSION, {
    key: root.handle,
    bind: HIERARCHY.null,
    nonceCaller,
    encryptedSalt,
    type,
    symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
    hash: 'sha256',
  });
  return tpm.using(handle, () => use(new SaltedSession(handle, { salt, nonceTpm, nonceCaller })));
}

/** A fresh salt, and the point from which the holder of `key` computes it (Part 1, C.6.1). */
function saltFor(key: TpmPublic): Readonly<Record<'salt' | 'encryptedSalt', Uint8Array>> {
  if (key.type !== 'ecc') throw new TpmError('unusable', 'the storage root key is not on P-256');
  const length = CURVE_LENGTH['P-256'];
  const ephemeral = createECDH('prime256v1');
  const own = ephemeral.generateKeys().subarray(1);
  const [ownX, ownY] = [own.subarray(0, length), own.subarray(length)];
  const coordinate = tpm2b(MAX_COORDINATE);
  try {
    const [x, y] = [leftPad(key.x, length), leftPad(key.y, length)];
    const shared = ephemeral.computeSecret(concat(Uint8Array.of(4), x, y));
    return {
      salt: sha256(concat(u32.encode(1), shared, utf8('SECRET\0'), ownX, x)),
      encryptedSalt: concat(coordinate.encode(ownX), coordinate.encode(ownY)),
    };
  } catch (cause) {
    throw new TpmError('unusable', 'the storage root key is no point of P-256', { cause });
  }
}

/** Asserts in the session that the counter has the value. */
export async function satisfyCounterPolicy(tpm: Tpm, session: number, { index, value }: CounterDemand): Promise<void> {
  const comparison = { operand: u64.encode(value), offset: 0, comparison: 'equal' } as const;
  await tpm.run(POLICY_NV, { by: index, index, session, ...comparison });
}

/** Asserts in the session that the registers are as they are now. */
export async function satisfyPcrPolicy(tpm: Tpm, session: number, selection: PcrSelection): Promise<void> {
  await tpm.run(POLICY_PCR, { session, pcrDigest: new Uint8Array(), selection });
}
