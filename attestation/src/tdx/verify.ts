/**
 * Authenticity of TDX quotes: PCK chain, quoting enclave, attestation key, quote, and the
 * platform's patch level.
 */

import { verifySignature } from '#crypto';
import { concat, equalBytes, fromHex } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import type { Moment } from '../moment.ts';
import { importPart, parsePart } from '../parse-part.ts';
import { parseCertificateOnce } from '../x509/certificate.ts';
import { type Pin, type VerifiedChain, verifyChain } from '../x509/chain.ts';
import { type TdxCollateral, verifyCollateral } from './collateral.ts';
import { type PckPlatform, readPckPlatform } from './pck.ts';
import { parseQuote, type TdxQuote } from './quote.ts';
import { judgeTcb, type TdxTcb } from './tcb.ts';

/** A quote with its collateral. */
export interface TdxEvidence {
  readonly quote: Uint8Array;
  /**
   * `"none"` is carried into the result, where appraisal shows the patch level as a check that was
   * not run.
   */
  readonly collateral: TdxCollateral | 'none';
}

declare const authenticated: unique symbol;

/**
 * A quote that Intel silicon signed: made by `verifyTdx` alone. Its contents are true; whether they
 * suffice is not judged.
 */
export interface AuthenticatedTdx {
  readonly [authenticated]: true;
  readonly quote: TdxQuote;
  readonly platform: PckPlatform;
  readonly chain: VerifiedChain;
  /**
   * The platform's patch level, and the time until which that judgement is current (milliseconds
   * since 1970).
   */
  readonly tcb: (TdxTcb & { readonly nextUpdate: number }) | 'not checked';
}

/** SubjectPublicKeyInfo of a P-256 key, up to x‖y. */
const SPKI_P256 = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004');
const SCHEME = { kind: 'ecdsa', hash: 'sha256', encoding: 'p1363' } as const;

/**
 * Verifies who signed a quote.
 * @param pins Intel's root (`VENDOR_ANCHORS.intel`).
 * @param options.now Milliseconds since 1970.
 * @throws EvidenceError `format`, `chain`, `validity`, `revoked`, `signature`, `binding`,
 * `collateral`, `identity`.
 */
export async function verifyTdx(
  evidence: TdxEvidence,
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedTdx> {
  const quote = parsePart('format', 'quote', evidence.quote, parseQuote);
  const chain = await verifyPck(quote, pins, options);
  const platform = parsePart('identity', 'PCK certificate', chain.leaf, readPckPlatform);
  await verifyEnclave(quote, chain);
  checkKeyBinding(quote);
  await verifyQuoteSignature(quote);
  const tcb = await verifyTcb(evidence.collateral, quote, chain, pins, options);
  return { quote, platform, chain, tcb } as AuthenticatedTdx;
}

async function verifyPck(quote: TdxQuote, pins: readonly Pin[], options: Moment): Promise<VerifiedChain> {
  const [leaf, ...others] = quote.pckChain.map((der) => parsePart('chain', 'PCK chain', der, parseCertificateOnce));
  if (leaf === undefined) throw new EvidenceError('chain', 'quote without a PCK certificate');
  return verifyChain(leaf, others, pins, options);
}

async function verifyEnclave({ qeReport, qeSignature }: TdxQuote, { key }: VerifiedChain): Promise<void> {
  if (!(await verifySignature(SCHEME, key, qeReport.signed, qeSignature))) {
    throw new EvidenceError('signature', 'report of the quoting enclave does not verify under the PCK');
  }
}

/**
 * Checks that the enclave vouches for the attestation key. It does so by the first half of its
 * report data; the second half is zero.
 */
function checkKeyBinding({ qeReport, attestationKey, qeAuthData }: TdxQuote): void {
  const expected = concat(sha256(concat(attestationKey, qeAuthData)), new Uint8Array(32));
  if (!equalBytes(expected, qeReport.reportData)) {
    throw new EvidenceError('binding', 'attestation key is not the one that the quoting enclave vouches for');
  }
}

async function verifyQuoteSignature({ attestationKey, signed, signature }: TdxQuote): Promise<void> {
  const key = await importPart('attestation key', concat(SPKI_P256, attestationKey));
  if (!(await verifySignature(SCHEME, key, signed, signature))) {
    throw new EvidenceError('signature', 'quote signature does not verify under the attestation key');
  }
}

async function verifyTcb(
  collateral: TdxCollateral | 'none',
  quote: TdxQuote,
  chain: VerifiedChain,
  pins: readonly Pin[],
  options: Moment,
): Promise<AuthenticatedTdx['tcb']> {
  if (collateral === 'none') return 'not checked';
  const verified = await verifyCollateral(collateral, chain, pins, options);
  const tcb = judgeTcb(verified, quote.report, quote.qeReport);
  return { ...tcb, nextUpdate: verified.nextUpdate };
}
