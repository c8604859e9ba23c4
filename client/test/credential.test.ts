/** Keys that no credential may be made to. That a TPM opens a credential is shown by test/tpm, on one. */

import assert from 'node:assert/strict';
import { createECDH, generateKeyPairSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { fromBase64Url } from '@enclaim/attestation/bytes';
import { EvidenceError } from '@enclaim/attestation/errors';
import { type EccPublic, encodePublic, type RsaPublic, type TpmPublic } from '@enclaim/attestation/tpm';
import { makeCredential } from '../src/make-credential.ts';

const akName = new Uint8Array([0, 0x0b, ...randomBytes(32)]);
const secret = randomBytes(32);

const { n = '' } = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' });
const rsa: RsaPublic = {
  type: 'rsa',
  nameAlg: 'sha256',
  attributes: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'adminWithPolicy', 'restricted', 'decrypt'],
  authPolicy: new Uint8Array(32),
  symmetric: { algorithm: 'aes', keyBits: 128, mode: 'cfb' },
  scheme: { scheme: 'none' },
  keyBits: 2048,
  exponent: 0,
  modulus: fromBase64Url(n),
};
const point = createECDH('prime256v1').generateKeys();
const ecc: EccPublic = {
  ...rsa,
  type: 'ecc',
  scheme: { scheme: 'none' },
  curve: 'P-256',
  kdf: 'none',
  x: point.subarray(1, 33),
  y: point.subarray(33),
};

const make = (ek: TpmPublic): unknown => makeCredential({ ekPublic: encodePublic(ek), akName, secret });

test('a credential is fresh each time, and hides the secret', () => {
  for (const ek of [rsa, ecc]) {
    const ekPublic = encodePublic(ek);
    const [a, b] = [makeCredential({ ekPublic, akName, secret }), makeCredential({ ekPublic, akName, secret })];
    assert.notDeepEqual(a.credentialBlob, b.credentialBlob);
    assert.notDeepEqual(a.encryptedSecret, b.encryptedSecret);
    assert.equal(Buffer.from(a.credentialBlob).includes(secret), false);
    assert.equal(a.encryptedSecret.length, ek.type === 'rsa' ? 256 : 2 * (2 + 32));
  }
});

test('only to keys that a TPM keeps to itself', () => {
  const without = (name: string): Partial<TpmPublic> => ({ attributes: rsa.attributes.filter((one) => one !== name) });
  for (const [what, ek] of [
    ...(['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'decrypt'] as const).map(
      (name) => [`without ${name}`, { ...rsa, ...without(name) } as RsaPublic] as const,
    ),
    ['a signing key', { ...rsa, attributes: [...rsa.attributes, 'sign'] }],
    ['a key that may be copied out', { ...rsa, attributes: [...rsa.attributes, 'encryptedDuplication'] }],
    ['a name of SHA-1', { ...rsa, nameAlg: 'sha1' }],
    ['no symmetric algorithm', { ...rsa, symmetric: { algorithm: 'none' } }],
    ['a modulus of zeros, as in a template', { ...rsa, modulus: new Uint8Array(256) }],
    ['RSA of 1024 bits', { ...rsa, keyBits: 1024, modulus: rsa.modulus.subarray(128).with(0, 0xff) }],
    ['exponent 3', { ...rsa, exponent: 3 }],
    ['a point off the curve', { ...ecc, y: randomBytes(32) }],
    ['no point, as in a template', { ...ecc, x: new Uint8Array(), y: new Uint8Array() }],
    ['a coordinate that is too long', { ...ecc, x: randomBytes(33) }],
  ] as readonly (readonly [string, TpmPublic])[]) {
    assert.throws(
      () => make(ek),
      (error) => error instanceof EvidenceError && error.code === 'key',
      what,
    );
  }
  for (const ekPublic of [new Uint8Array(3), aes64()]) {
    assert.throws(() => makeCredential({ ekPublic, akName, secret }), { name: 'EvidenceError', code: 'format' });
  }
});

/** The RSA key with the length of its AES key, after type, name, attributes and policy, set to 64 bits. */
function aes64(): Uint8Array {
  return encodePublic(rsa).with(2 + 2 + 4 + 2 + 32 + 2 + 1, 64);
}

test('a secret that is longer than the digest is a defect of the caller', () => {
  assert.throws(() => makeCredential({ ekPublic: encodePublic(ecc), akName, secret: randomBytes(33) }), RangeError);
});
