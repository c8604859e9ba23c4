/** Keys of a witness, and the cosignatures that they make. */

import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import {
  cosignedMessage,
  isNoteName,
  type NoteAlgorithm,
  type NoteKey,
  noteKey,
  signatureLine,
} from '@enclaim/attestation/tlog';
import { readInput } from '../input.ts';
import { UsageError } from '../usage-error.ts';

/** A key of a witness. */
export interface CosigningKey {
  readonly key: NoteKey;
  readonly privateKey: KeyObject;
}

const FORMS: Readonly<Record<string, readonly [NoteAlgorithm, keyLength: number]>> = {
  ed25519: ['cosignature/v1', 32],
  'ml-dsa-44': ['ml-dsa-44', 1312],
};

/** The key of a witness of this name. @throws UsageError for another kind of key */
export function cosigningKey(name: string, privateKey: KeyObject): CosigningKey {
  const [algorithm, length] = FORMS[privateKey.asymmetricKeyType ?? ''] ?? [];
  if (algorithm === undefined || length === undefined) {
    throw new UsageError(`a key of type ${privateKey.asymmetricKeyType}: a witness signs with ed25519 or ml-dsa-44`);
  }
  if (!isNoteName(name) || name.length > 128) throw new UsageError(`--name ${name}: no spaces, no +, at most 128`);
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return { key: noteKey(name, algorithm, Uint8Array.from(spki.subarray(-length))), privateKey };
}

/** The key in a file (PKCS #8, PEM). @throws UsageError */
export async function readCosigningKey(name: string, path: string): Promise<CosigningKey> {
  const pem = Buffer.from(await readInput(path));
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(pem);
  } catch (cause) {
    throw new UsageError(`${path} is no private key: ${(cause as Error).message}`, { cause });
  }
  return cosigningKey(name, privateKey);
}

/** Signature lines over a checkpoint's text, one a key. @param timestamp seconds since 1970 */
export function cosign(keys: readonly CosigningKey[], text: string, timestamp: bigint): string[] {
  return keys.map(({ key, privateKey }) =>
    signatureLine(key, sign(null, cosignedMessage(key, text, timestamp), privateKey), timestamp),
  );
}
