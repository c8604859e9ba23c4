/**
 * TPMS_ATTEST: what a TPM signs about itself (Part 2, 10.12). Only quotes and certifications are
 * read.
 */

import { MAX_DIGEST, MAX_NAME } from './algorithm.ts';
import { type PcrSelection, pcrSelection } from './pcr.ts';
import { type Codec, decodeWhole, prefixed, rest, struct, tagged, tpm2b, u32, u64, yesNo } from './wire.ts';

/**
 * TPM_GENERATED_VALUE: a restricted key signs these four bytes only if the TPM itself made the
 * structure.
 */
export const TPM_GENERATED = 0xff54_4347;

/**
 * TPMS_CLOCK_INFO. The TPM obfuscates it if the signing key is outside the endorsement and platform
 * hierarchies.
 */
export interface ClockInfo {
  /** Milliseconds that the TPM has been powered in its life; never goes back but by a clear. */
  readonly clock: bigint;
  /** Resets since the last clear. */
  readonly resetCount: number;
  /** Restarts and resumes since the last reset. */
  readonly restartCount: number;
  /** Whether the clock has certainly never gone back. */
  readonly safe: boolean;
}

interface AttestHeader {
  /** Qualified name of the signing key. */
  readonly qualifiedSigner: Uint8Array;
  /** The nonce that the caller gave. */
  readonly extraData: Uint8Array;
  readonly clockInfo: ClockInfo;
  readonly firmwareVersion: bigint;
}

/** Registers, signed. */
export interface QuoteAttest extends AttestHeader {
  readonly type: 'quote';
  readonly selection: PcrSelection;
  readonly pcrDigest: Uint8Array;
}

/** "This object is loaded in the TPM that holds the signing key." */
export interface CertifyAttest extends AttestHeader {
  readonly type: 'certify';
  readonly name: Uint8Array;
  readonly qualifiedName: Uint8Array;
}

/** The types that are known, so that they can be named and refused. Their bodies are not read. */
export interface OtherAttest extends AttestHeader {
  readonly type: 'nv' | 'commandAudit' | 'sessionAudit' | 'time' | 'creation' | 'nvDigest';
  readonly body: Uint8Array;
}

export type Attest = QuoteAttest | CertifyAttest | OtherAttest;

const header = {
  qualifiedSigner: tpm2b(MAX_NAME),
  extraData: tpm2b(MAX_NAME),
  clockInfo: struct<ClockInfo>({ clock: u64, resetCount: u32, restartCount: u32, safe: yesNo }),
  firmwareVersion: u64,
};
const other = struct({ ...header, body: rest });

/** TPMS_ATTEST. */
export const attest: Codec<Attest> = prefixed(
  TPM_GENERATED,
  tagged('type', {
    nv: [0x8014, other],
    commandAudit: [0x8015, other],
    sessionAudit: [0x8016, other],
    certify: [0x8017, struct({ ...header, name: tpm2b(MAX_NAME), qualifiedName: tpm2b(MAX_NAME) })],
    quote: [0x8018, struct({ ...header, selection: pcrSelection, pcrDigest: tpm2b(MAX_DIGEST) })],
    time: [0x8019, other],
    creation: [0x801a, other],
    nvDigest: [0x801c, other],
  }),
);

/**
 * The structure in TPMS_ATTEST bytes.
 *
 * **Trust**: nothing in it is authentic before the signature over these very bytes verified.
 * @throws DecodeError, `magic` if the TPM did not make it
 */
export function parseAttest(bytes: Uint8Array): Attest {
  return decodeWhole(attest, bytes, 'TPMS_ATTEST');
}
