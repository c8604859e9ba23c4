/**
 * Signature verifications of a step, taken down while it runs: the same keys, messages and
 * signatures, to be verified with nothing around them.
 */

import crypto, { type KeyObject, type VerifyKeyObjectInput, verify } from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';

/** Arguments of `crypto.verify`, as the seam (attestation/src/crypto/node.ts) gives them. */
type Call = [hash: string | null, message: Uint8Array, key: KeyObject | VerifyKeyObjectInput, signature: Uint8Array];

/** Verifications that a step cannot do without. */
export interface Signatures {
  /** Their kinds, such as `2 RSA-4096, 1 P-384`. */
  readonly kinds: string;
  /** Verifies each once, with its key imported beforehand. @throws if one does not verify */
  readonly verify: () => void;
}

/**
 * Runs a step and takes down each call of `crypto.verify`. A verification that the step made twice
 * counts once: no verifier needs the second.
 */
export async function signaturesOf(step: () => Promise<unknown>): Promise<Signatures> {
  const made: Call[] = [];
  const original: (...call: Call) => boolean = crypto.verify;
  const record = (...call: Call): boolean => {
    const good = original(...call);
    if (good && !made.some((one) => isSame(one, call))) made.push(call);
    return good;
  };
  Object.assign(crypto, { verify: record });
  syncBuiltinESMExports();
  try {
    await step();
  } finally {
    Object.assign(crypto, { verify: original });
    syncBuiltinESMExports();
  }
  const counts = new Map<string, number>();
  for (const call of made) counts.set(kindOf(call), (counts.get(kindOf(call)) ?? 0) + 1);
  return {
    kinds: [...counts].map(([kind, count]) => `${count} ${kind}`).join(', '),
    verify: () => {
      for (const call of made) if (!verify(...call)) throw new Error('a signature that verified does not any more');
    },
  };
}

function isSame(one: Call, other: Call): boolean {
  const [hash, message, , signature] = one;
  const same =
    hash === other[0] && Buffer.compare(message, other[1]) === 0 && Buffer.compare(signature, other[3]) === 0;
  return same && keyOf(one).equals(keyOf(other));
}

function keyOf([, , given]: Call): KeyObject {
  const key = 'key' in given ? given.key : given;
  if (key instanceof crypto.KeyObject) return key;
  throw new TypeError('the seam verifies with imported keys');
}

const CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' };

function kindOf(call: Call): string {
  const { asymmetricKeyType = '', asymmetricKeyDetails = {} } = keyOf(call);
  const { namedCurve, modulusLength } = asymmetricKeyDetails;
  if (namedCurve !== undefined) return CURVES[namedCurve] ?? namedCurve;
  return modulusLength === undefined ? asymmetricKeyType : `${asymmetricKeyType.toUpperCase()}-${modulusLength}`;
}
