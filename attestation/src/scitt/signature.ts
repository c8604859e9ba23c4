/** Ed25519 signatures of COSE messages, under keys that are named by their thumbprint. */

import { importKey } from '#crypto';
import { equalBytes, toHex } from '../bytes.ts';
import { type CborMap, verifySign1 } from '../cbor/index.ts';
import { EvidenceError } from '../errors.ts';
import { type Ed25519Text, ed25519Spki } from '../statement.ts';
import { ALGORITHM_EDDSA, HEADER, keyThumbprint } from './signed-tree.ts';

/** A signed message in parts, with the key that it names. */
interface Signed {
  readonly keyId: Uint8Array;
  readonly protectedBytes: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/**
 * Verifies that a key signed.
 * @throws EvidenceError `binding` for a message of another key, `signature`
 */
export async function verifyUnderKey({ keyId, ...signed }: Signed, key: Ed25519Text): Promise<void> {
  const thumbprint = keyThumbprint(key);
  if (!equalBytes(keyId, thumbprint))
    throw new EvidenceError('binding', `signed under key ${toHex(keyId)}, expected ${toHex(thumbprint)}`);
  const protectedHeaders: CborMap = new Map([[HEADER.algorithm, ALGORITHM_EDDSA]]);
  const message = { ...signed, protectedHeaders, unprotectedHeaders: new Map() };
  await verifySign1(message, ALGORITHM_EDDSA, await importKey(ed25519Spki(key)));
}
