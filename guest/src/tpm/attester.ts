/**
 * The guest's requests to its TPM: quotes, register extensions, and proof that its keys live in it.
 */

import { equalBytes } from '@enclaim/attestation/bytes';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  encodePublic,
  nameOf,
  type PcrValues,
  parseAttest,
  pcrDigest,
  QUOTE_SELECTION,
} from '@enclaim/attestation/tpm';
import { FLUSH_CONTEXT, QUOTE } from './commands.ts';
import { openEndorsement } from './endorsement.ts';
import { TpmError } from './error.ts';
import { AK_TEMPLATE, createPrimary } from './primary.ts';
import { extendPcr, readPcrs } from './registers.ts';
import { Tpm } from './tpm.ts';
import type { TpmTransport } from './transport.ts';

/** A quote over `QUOTE_SELECTION`, as `verifyQuote` takes it. */
export interface Quote {
  /** TPMS_ATTEST, as signed. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** The quoted values: registers 0 to 15 of the SHA-256 bank. */
  readonly pcrs: PcrValues;
}

/** An open TPM with its attestation key loaded. Calls may overlap. */
export interface Attester {
  /** TPMT_PUBLIC of the attestation key: restricted, ECDSA P-256, the same at every boot. */
  readonly akPublic: Uint8Array;
  /** Name of the attestation key, which a credential is made to. */
  readonly akName: Uint8Array;
  /** TPMT_PUBLIC of the endorsement key, which a credential is encrypted to. */
  readonly ekPublic: Uint8Array;
  /**
   * DER of the endorsement key's certificate, if the TPM holds one. **Trust**: the verifier has to
   * verify it.
   */
  readonly ekCertificate?: Uint8Array;
  /** The TPM itself, for sealing and counters. */
  readonly tpm: Tpm;
  /**
   * Quotes registers 0 to 15 of the SHA-256 bank.
   * @param qualifyingData what the quote is for, at most 64 bytes; 32 in Enclaim's evidence
   * @throws TpmError `unsettled` if registers are extended faster than they can be read
   */
  quote(qualifyingData: Uint8Array): Promise<Quote>;
  /**
   * Extends register `pcr` of the SHA-256 bank by a digest of 32 bytes. Other banks keep their
   * value.
   */
  extend(pcr: number, digest: Uint8Array): Promise<void>;
  /**
   * Returns the secret of a credential that was made to `akName` and encrypted to `ekPublic`.
   * Giving it back proves that one TPM holds both keys.
   * @throws TpmError `integrity`, `size`, `value` or `ecc-point` if it was made to other keys or
   *   tampered with
   */
  activate(credentialBlob: Uint8Array, encryptedSecret: Uint8Array): Promise<Uint8Array>;
  /** Flushes the attestation key and closes the transport. */
  close(): Promise<void>;
}

/**
 * Number of attempts to quote while the registers do not match the quote, because they are extended
 * meanwhile.
 */
const QUOTINGS = 5;

/**
 * Makes the attestation key in the TPM behind `transport`, and finds the endorsement key that has a
 * certificate.
 * @throws TpmError; the transport is then closed
 */
export async function openAttester(transport: TpmTransport): Promise<Attester> {
  const tpm = new Tpm(transport);
  try {
    const { ekPublic, certificate, activate } = await openEndorsement(tpm);
    const ak = await createPrimary(tpm, 'endorsement', AK_TEMPLATE);
    return {
      akPublic: encodePublic(ak.publicArea),
      akName: nameOf(ak.publicArea),
      ekPublic: encodePublic(ekPublic),
      ...(certificate && { ekCertificate: certificate }),
      tpm,
      quote: quoter(tpm, ak.handle),
      extend: (pcr, digest) => extendPcr(tpm, pcr, [{ bank: 'sha256', digest }]),
      activate: (credentialBlob, encryptedSecret) => activate(ak.handle, { credentialBlob, encryptedSecret }),
      close: async () => {
        try {
          await tpm.run(FLUSH_CONTEXT, { object: ak.handle });
        } finally {
          await tpm.close();
        }
      },
    };
  } catch (error) {
    await tpm.close();
    throw error;
  }
}

function quoter(tpm: Tpm, ak: number): Attester['quote'] {
  // **Cost**: registers seldom change, so the values of the quote before fit most quotes, and one
  // command is enough.
  let pcrs: PcrValues = new Map();
  return async (qualifyingData) => {
    for (let i = 0; i < QUOTINGS; i++) {
      const { attest, signature } = await tpm.run(QUOTE, { sign: ak, qualifyingData, selection: QUOTE_SELECTION });
      if (isQuoteOver(attest, pcrs)) return { attest, signature, pcrs };
      pcrs = (await readPcrs(tpm, QUOTE_SELECTION)).get('sha256') ?? new Map();
      if (isQuoteOver(attest, pcrs)) return { attest, signature, pcrs };
    }
    throw new TpmError('unsettled', `registers changed between quote and reading ${QUOTINGS} times`);
  };
}

function isQuoteOver(bytes: Uint8Array, pcrs: PcrValues): boolean {
  const attest = parseAttestOf(bytes);
  const digest = pcrDigest('sha256', QUOTE_SELECTION, new Map([['sha256', pcrs]]));
  return attest.type === 'quote' && digest !== undefined && equalBytes(attest.pcrDigest, digest);
}

function parseAttestOf(bytes: Uint8Array): ReturnType<typeof parseAttest> {
  try {
    return parseAttest(bytes);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new TpmError('response', `malformed attest: ${cause.message}`, { cause });
  }
}
