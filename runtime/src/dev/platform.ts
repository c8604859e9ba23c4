/**
 * A platform that attests nothing. A developer's key in a file signs, and only references that name
 * this key accept it.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { simulatedMessage } from '@enclaim/attestation/batch';
import { fromBase64Url } from '@enclaim/attestation/bytes';
import { type Ed25519Text, ed25519Key } from '@enclaim/attestation/statement';
import { RefusalError } from '../errors.ts';
import type { AttestingPlatform } from '../hardware/platform.ts';

/** A new key, as PEM. */
export function makeDeveloperKey(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/**
 * The key in a PEM text.
 *
 * @throws TypeError if it is no Ed25519 private key
 */
export function readDeveloperKey(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') throw new TypeError(`a key of type ${key.asymmetricKeyType}`);
  return key;
}

/** The platform, and the name by which references must list its key. */
export function simulatedPlatform(key: KeyObject): {
  readonly platform: AttestingPlatform;
  readonly name: Ed25519Text;
} {
  const raw = fromBase64Url(String(createPublicKey(key).export({ format: 'jwk' }).x));
  return {
    name: ed25519Key(raw),
    platform: {
      kind: 'simulated',
      device: { ak: null, ek: null, ekCertificate: null },
      sign: async (root, boot) => {
        const signature = sign(null, simulatedMessage(root, boot), key);
        return { case: 'simulated', value: { key: raw, signature } };
      },
      activate: () => Promise.reject(new RefusalError('channel', 'platform simulated has no key to activate')),
    },
  };
}
