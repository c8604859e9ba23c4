/** A cloud's virtual TPM in software: an RSA attestation key of this process, and quotes under it. */

import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import type { VtpmQuote } from '../../attestation/src/azure/index.ts';
import { tpmExtraData } from '../../attestation/src/batch.ts';
import { attest } from '../../attestation/src/tpm/attest.ts';
import { type PcrValues, pcrDigest } from '../../attestation/src/tpm/pcr.ts';
import { QUOTE_SELECTION } from '../../attestation/src/tpm/quote.ts';
import { tpmSignature } from '../../attestation/src/tpm/signature.ts';

/** What travels of a quote. */
export interface FakeVtpmEvidence {
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
  readonly pcrs: { readonly index: number; readonly sha256: Uint8Array }[];
  readonly commandLine: string;
}

export class FakeVtpm {
  readonly #key: KeyObject;
  readonly spki: Uint8Array;
  /** Base64url of the modulus. */
  readonly modulus: string;
  /** Registers 0 to 15; all zero until they are set. */
  registers: PcrValues = new Map(Array.from({ length: 16 }, (_, pcr) => [pcr, new Uint8Array(32)]));

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    this.#key = privateKey;
    this.spki = publicKey.export({ type: 'spki', format: 'der' });
    this.modulus = publicKey.export({ format: 'jwk' }).n ?? '';
  }

  /** A quote over registers 0 to 15. */
  quote(nonce: Uint8Array): VtpmQuote {
    const banks = new Map([['sha256', this.registers]] as const);
    const bytes = attest.encode({
      type: 'quote',
      qualifiedSigner: new Uint8Array(34),
      extraData: nonce,
      clockInfo: { clock: 1n, resetCount: 1, restartCount: 0, safe: true },
      firmwareVersion: 1n,
      selection: QUOTE_SELECTION,
      pcrDigest: pcrDigest('sha256', QUOTE_SELECTION, banks) ?? new Uint8Array(),
    });
    const signature = tpmSignature.encode({
      scheme: 'rsassa',
      hash: 'sha256',
      signature: sign('sha256', bytes, this.#key),
    });
    return { attest: bytes, signature, selection: QUOTE_SELECTION, banks, expectedExtraData: nonce };
  }

  /** A quote as evidence carries it. */
  evidence(root: Uint8Array, bootDigest: Uint8Array, commandLine: string = ''): FakeVtpmEvidence {
    const { attest: bytes, signature } = this.quote(tpmExtraData(root, bootDigest));
    const pcrs = [...this.registers].map(([index, sha256]) => ({ index, sha256 }));
    return { attest: bytes, signature, pcrs, commandLine };
  }
}
