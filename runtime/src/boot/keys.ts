/** The keys of one boot: made inside, never written, gone with the boot. */

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { type Sha256, sha256 } from '@enclaim/attestation/digest';
import { ed25519Key } from '@enclaim/attestation/statement';
import { certificatePem, selfSignedCertificate } from './certificate.ts';

/** Keys of a boot, as the rest of the runtime uses them. */
export interface BootKeys {
  /** The TLS server's private key, as PEM, and SHA-256 of its SubjectPublicKeyInfo. */
  readonly tls: { readonly key: string; readonly spkiDigest: Sha256 };
  /** PEM of a self-signed certificate for the TLS key that carries evidence. */
  certificate(evidence: Uint8Array): string;
  /** Public half of the receipt key, `ed25519:` text. */
  readonly receipt: `ed25519:${string}`;
  /** Ed25519 signature of the receipt key. */
  signReceipts(message: Uint8Array): Uint8Array;
  /** Public half of the log key, `ed25519:` text. */
  readonly log: `ed25519:${string}`;
  /**
   * Ed25519 signature of the log key, which signs checkpoints and nothing else: as the text of a
   * note, and as the structure that COSE receipts carry.
   */
  signCheckpoint(message: Uint8Array): Uint8Array;
}

/** Makes the TLS key (P-256), the receipt key and the log key (Ed25519). */
export function makeBootKeys(): BootKeys {
  const tls = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const receipt = generateKeyPairSync('ed25519');
  const log = generateKeyPairSync('ed25519');
  const spki = spkiOf(tls.publicKey);
  return {
    tls: {
      key: tls.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      spkiDigest: sha256(spki),
    },
    certificate: (evidence) => certificatePem(selfSignedCertificate(tls.privateKey, spki, randomBytes(16), evidence)),
    receipt: rawKey(receipt.publicKey),
    signReceipts: (message) => sign(null, message, receipt.privateKey),
    log: rawKey(log.publicKey),
    signCheckpoint: (message) => sign(null, message, log.privateKey),
  };
}

/** The last 32 bytes of an Ed25519 SubjectPublicKeyInfo are the raw key (RFC 8410 section 4). */
function rawKey(key: KeyObject): `ed25519:${string}` {
  return ed25519Key(spkiOf(key).subarray(-32));
}

function spkiOf(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'spki' });
}
