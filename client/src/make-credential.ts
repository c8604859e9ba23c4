/**
 * TPM2_MakeCredential in software: a secret that only one TPM can open, and only beside one key.
 *
 * **Spec**: TPM 2.0 Library, Part 1, clause 24, annexes B and C.
 */

import {
  constants,
  createCipheriv,
  createECDH,
  createHmac,
  createPublicKey,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { concat, u32be, utf8 } from '@enclaim/attestation/bytes';
import { HASH_LENGTH, type HashName, hash } from '@enclaim/attestation/digest';
import { EvidenceError } from '@enclaim/attestation/errors';
import {
  CURVE_LENGTH,
  type EndorsementKey,
  leftPad,
  MAX_COORDINATE,
  MAX_DIGEST,
  parseEndorsementKey,
  spkiOf,
  tpm2b,
} from '@enclaim/attestation/tpm';

/** A credential as it travels to the TPM. */
export interface Credential {
  /** TPMS_ID_OBJECT: integrity, and the encrypted secret. */
  readonly credentialBlob: Uint8Array;
  /** The seed, encrypted to the endorsement key: the content of TPM2B_ENCRYPTED_SECRET. */
  readonly encryptedSecret: Uint8Array;
}

const IDENTITY = utf8('IDENTITY\0');
const EMPTY = new Uint8Array();
const NODE_CURVE = { 'P-256': 'prime256v1', 'P-384': 'secp384r1' } as const;

/**
 * Encrypts `secret` so that it comes back only from the TPM that holds the endorsement key *and*
 * has a key of the name `akName` loaded. The name commits to the key's attributes, so the answer
 * vouches for them too.
 * @param credential.ekPublic TPMT_PUBLIC. **Trust**: its certificate must have been verified.
 * @param credential.akName name of the attestation key, which the caller computed from TPMT_PUBLIC
 *   and never took from the peer
 * @param credential.secret at most as long as the digest of the endorsement key's name; 16 to 32
 *   bytes serve
 * @throws EvidenceError `format`; `key` if `ekPublic` is not an endorsement key
 */
export function makeCredential(credential: {
  readonly ekPublic: Uint8Array;
  readonly akName: Uint8Array;
  readonly secret: Uint8Array;
}): Credential {
  const { akName, secret } = credential;
  const ek = parseEndorsementKey(credential.ekPublic);
  const algorithm = ek.nameAlg;
  const length = HASH_LENGTH[algorithm];
  const { seed, encryptedSecret } = ek.type === 'rsa' ? rsaSeed(ek) : eccSeed(ek);
  const symmetricKey = kdfA(algorithm, seed, 'STORAGE', akName, ek.symmetric.keyBits / 8);
  // A fresh key for each credential: the initial vector of zeros is never used twice under one.
  const cipher = createCipheriv(`aes-${ek.symmetric.keyBits}-cfb`, symmetricKey, new Uint8Array(16));
  const encrypted = concat(cipher.update(tpm2b(length).encode(secret)), cipher.final());
  const integrityKey = kdfA(algorithm, seed, 'INTEGRITY', EMPTY, length);
  const integrity = createHmac(algorithm, integrityKey).update(encrypted).update(akName).digest();
  return { credentialBlob: concat(tpm2b(MAX_DIGEST).encode(integrity), encrypted), encryptedSecret };
}

interface Seed {
  readonly seed: Uint8Array;
  readonly encryptedSecret: Uint8Array;
}

function rsaSeed(ek: Extract<EndorsementKey, { type: 'rsa' }>): Seed {
  const seed = randomBytes(HASH_LENGTH[ek.nameAlg]);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const encryptedSecret = withKey(() => {
    const key = createPublicKey({ key: Buffer.from(spkiOf(ek)), format: 'der', type: 'spki' });
    return publicEncrypt({ key, padding, oaepHash: ek.nameAlg, oaepLabel: IDENTITY }, seed);
  });
  return { seed, encryptedSecret };
}

function eccSeed(ek: Extract<EndorsementKey, { type: 'ecc' }>): Seed {
  const length = CURVE_LENGTH[ek.curve];
  const ephemeral = createECDH(NODE_CURVE[ek.curve]);
  const own = ephemeral.generateKeys().subarray(1);
  const [ownX, ownY] = [own.subarray(0, length), own.subarray(length)];
  const { x, shared } = withKey(() => {
    const [x, y] = [leftPad(ek.x, length), leftPad(ek.y, length)];
    return { x, shared: ephemeral.computeSecret(concat(Uint8Array.of(4), x, y)) };
  });
  const coordinate = tpm2b(MAX_COORDINATE);
  return {
    // KDFe: one block is as long as the seed.
    seed: hash(ek.nameAlg, concat(u32be(1), shared, IDENTITY, ownX, x)),
    encryptedSecret: concat(coordinate.encode(ownX), coordinate.encode(ownY)),
  };
}

/**
 * The first block of KDFa (SP 800-108, counter mode). One is enough, because every key here is at
 * most as long as the hash.
 */
function kdfA(algorithm: HashName, key: Uint8Array, label: string, context: Uint8Array, length: number): Uint8Array {
  const block = createHmac(algorithm, key)
    .update(concat(u32be(1), utf8(`${label}\0`), context, u32be(length * 8)))
    .digest();
  if (length > block.length) throw new EvidenceError('key', `${algorithm} gives no key of ${length} bytes`);
  return block.subarray(0, length);
}

/**
 * Turns errors of OpenSSL and of the codecs into an error about the peer's key. They refuse moduli,
 * points and coordinates that are none, so the fault is the key's.
 */
function withKey<T>(use: () => T): T {
  try {
    return use();
  } catch (cause) {
    throw new EvidenceError('key', 'the endorsement key cannot be used', { cause });
  }
}
