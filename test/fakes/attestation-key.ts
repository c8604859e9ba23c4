/** An attestation key held by this process, and quotes under it: what a TPM would sign, and what it never would. */

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { fromBase64Url } from '../../attestation/src/bytes.ts';
import { attest, type QuoteAttest } from '../../attestation/src/tpm/attest.ts';
import { type PcrValues, pcrDigest } from '../../attestation/src/tpm/pcr.ts';
import { type EccPublic, encodePublic, qualifiedNameOfPrimary } from '../../attestation/src/tpm/public-area.ts';
import { QUOTE_SELECTION } from '../../attestation/src/tpm/quote.ts';
import { tpmSignature } from '../../attestation/src/tpm/signature.ts';

export interface FakeAttestationKey {
  readonly publicArea: EccPublic;
  readonly privateKey: KeyObject;
}

/** A quote as `verifyQuote` takes it. */
export interface FakeQuote {
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
  readonly akPublic: Uint8Array;
  readonly expectedExtraData: Uint8Array;
  readonly pcrs: PcrValues;
}

/** A key with the attributes that an attestation key must have, but for the changes. */
export function fakeAttestationKey(changes: Partial<EccPublic> = {}): FakeAttestationKey {
  const namedCurve = changes.curve ?? 'P-256';
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const publicArea: EccPublic = {
    type: 'ecc',
    nameAlg: 'sha256',
    attributes: ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'noDA', 'restricted', 'sign'],
    authPolicy: new Uint8Array(),
    symmetric: { algorithm: 'none' },
    scheme: { scheme: 'ecdsa', hash: 'sha256' },
    curve: namedCurve,
    kdf: 'none',
    x: fromBase64Url(x),
    y: fromBase64Url(y),
    ...changes,
  };
  return { publicArea, privateKey };
}

/**
 * A good quote, but for the changes.
 * @param options.transform what is done to TPMS_ATTEST before it is signed
 */
export function fakeQuote(
  options: {
    readonly key?: FakeAttestationKey;
    readonly pcrs?: PcrValues;
    readonly nonce?: Uint8Array;
    readonly change?: Partial<QuoteAttest>;
    readonly transform?: (attest: Uint8Array) => Uint8Array;
  } = {},
): FakeQuote {
  const { publicArea, privateKey } = options.key ?? fakeAttestationKey();
  const pcrs = options.pcrs ?? new Map(Array.from({ length: 16 }, (_, pcr) => [pcr, randomBytes(32)]));
  const nonce = options.nonce ?? randomBytes(32);
  const bytes = attest.encode({
    type: 'quote',
    qualifiedSigner: qualifiedNameOfPrimary(publicArea, 'endorsement'),
    extraData: nonce,
    clockInfo: { clock: 1_000_000n, resetCount: 7, restartCount: 1, safe: true },
    firmwareVersion: 0x2019_1023_0016_3636n,
    selection: QUOTE_SELECTION,
    pcrDigest: pcrDigest('sha256', QUOTE_SELECTION, new Map([['sha256', pcrs]])) ?? new Uint8Array(),
    ...options.change,
  });
  const signed = options.transform?.(bytes) ?? bytes;
  return {
    attest: signed,
    signature: signAttest(signed, privateKey),
    akPublic: encodePublic(publicArea),
    expectedExtraData: nonce,
    pcrs,
  };
}

/** TPMT_SIGNATURE: ECDSA with SHA-256. */
export function signAttest(bytes: Uint8Array, key: KeyObject): Uint8Array {
  const raw = sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' });
  const half = raw.length / 2;
  return tpmSignature.encode({ scheme: 'ecdsa', hash: 'sha256', r: raw.subarray(0, half), s: raw.subarray(half) });
}
