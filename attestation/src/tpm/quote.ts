/**
 * Verification of TPM 2.0 quotes: the signer, and that the TPM itself made the quote, for this
 * nonce and over these registers.
 */

import { equalBytes, toHex, u32be } from '../bytes.ts';
import type { VerificationKey } from '../crypto/scheme.ts';
import type { HashName } from '../digest.ts';
import { EvidenceError } from '../errors.ts';
import { importPart, parsePart } from '../parse-part.ts';
import { type ClockInfo, parseAttest, type QuoteAttest, TPM_GENERATED } from './attest.ts';
import {
  filledBanks,
  formatSelection,
  type PcrBanks,
  type PcrSelection,
  type PcrValues,
  pcrDigest,
  sameSelection,
} from './pcr.ts';
import { hasAttributes, nameOf, parsePublic, qualifiedNameOfPrimary, spkiOf, type TpmPublic } from './public-area.ts';
import { parseSignature, verifyTpmSignature } from './signature.ts';

/** Registers that an Enclaim guest quotes: 0 to 15 of the SHA-256 bank, all of them, always. */
export const QUOTE_SELECTION: PcrSelection = [{ bank: 'sha256', pcrs: Array.from({ length: 16 }, (_, pcr) => pcr) }];

/**
 * A quote whose signature, origin, nonce and register values belong together. Made by the functions
 * below only.
 */
export interface AuthenticatedQuote {
  /** Register values that were signed, by bank and index. */
  readonly banks: PcrBanks;
  /** As signed: banks without registers may stand in it. */
  readonly selection: PcrSelection;
  readonly extraData: Uint8Array;
  readonly qualifiedSigner: Uint8Array;
  /**
   * Boot history of the TPM: a jump back of `clock` or `resetCount` between two quotes is another
   * TPM, or a cleared one.
   */
  readonly clockInfo: ClockInfo;
  readonly firmwareVersion: bigint;
  readonly scheme: 'rsassa' | 'rsapss' | 'ecdsa';
  readonly hash: HashName;
}

/**
 * An authenticated quote under a key whose attributes are known to make its signatures mean
 * something.
 */
export interface AuthenticatedAkQuote extends AuthenticatedQuote {
  /**
   * Name of the attestation key. A pin, a certificate or a credential activation must vouch for it.
   */
  readonly akName: Uint8Array;
}

/** Parts of a quote as they travel. */
interface QuoteParts {
  /** TPMS_ATTEST, as signed. */
  readonly attest: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  /** The extraData that the quote must have been made for, exactly. */
  readonly expectedExtraData: Uint8Array;
}

/**
 * Verifies an Enclaim guest's quote: `QUOTE_SELECTION` under a restricted P-256 key that is a
 * primary key of the endorsement hierarchy.
 *
 * **Trust**: `akPublic` is shown to be a key with the right attributes *if* a TPM holds it. The
 * caller has to establish from `akName` that a TPM does: by pin, or by credential activation.
 * @param quote.akPublic TPMT_PUBLIC of the attestation key
 * @param quote.pcrs exactly registers 0 to 15 of the SHA-256 bank, 32 bytes each
 * @throws EvidenceError `format`, `key`, `signature`, `magic`, `type`, `nonce`, `selection`,
 * `registers`
 */
export async function verifyQuote(
  quote: QuoteParts & { readonly akPublic: Uint8Array; readonly pcrs: PcrValues },
): Promise<AuthenticatedAkQuote> {
  const ak = parsePart('format', 'attestation key', quote.akPublic, parsePublic);
  requireAttestationKey(ak);
  const spki = parsePart('format', 'attestation key', ak, spkiOf);
  const banks = new Map([['sha256', quote.pcrs]] as const);
  const verified = await verifyQuoteUnderKey({ ...quote, spki, selection: QUOTE_SELECTION, banks });
  // The TPM states the name of the key it signed with. Without this, the attributes in akPublic
  // would be mere words.
  if (!equalBytes(verified.qualifiedSigner, qualifiedNameOfPrimary(ak, 'endorsement'))) {
    throw new EvidenceError('key', 'the quote was signed by a key of another name than the attestation key given');
  }
  return { ...verified, akName: nameOf(ak) };
}

/**
 * Verifies a quote under a bare public key, over any selection.
 *
 * **Trust**: a bare key says nothing of its attributes. A quote under a key that is not restricted
 * proves nothing, because such a key signs any bytes it is given, a forged TPMS_ATTEST too. The
 * statement that vouches for the key (a cloud's AK certificate, the HCL's runtime data) must vouch
 * for that as well.
 * @param quote.spki DER SubjectPublicKeyInfo, P-256, P-384 or RSA of at least 2048 bits
 * @param quote.banks exactly the values of `quote.selection`
 * @throws EvidenceError `format`, `key`, `signature`, `magic`, `type`, `nonce`, `selection`,
 * `registers`
 */
export async function verifyQuoteUnderKey(
  quote: QuoteParts & { readonly spki: Uint8Array; readonly selection: PcrSelection; readonly banks: PcrBanks },
): Promise<AuthenticatedQuote> {
  const key = await importSigningKey(quote.spki);
  const { scheme, hash } = await verifySignatureOver(quote.attest, quote.signature, key);
  const attest = parseQuoteAttest(quote.attest);
  requireNonce(attest, quote.expectedExtraData);
  requireRegisters(attest, hash, quote.selection, quote.banks);
  const { selection, extraData, qualifiedSigner, clockInfo, firmwareVersion } = attest;
  return { banks: quote.banks, selection, extraData, qualifiedSigner, clockInfo, firmwareVersion, scheme, hash };
}

/**
 * Refuses a key that could sign structures which its TPM did not make. Only a restricted key
 * refuses to sign bytes that begin with TPM_GENERATED, and only a fixed one is in one TPM. `noDA`
 * keeps the key usable after unclean shutdowns.
 */
function requireAttestationKey(ak: TpmPublic): void {
  const restricted = hasAttributes(
    ak,
    ['fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'restricted', 'sign', 'noDA'],
    ['decrypt', 'encryptedDuplication'],
  );
  if (!restricted) {
    throw new EvidenceError('key', `not an attestation key: attributes are ${ak.attributes.join(', ') || 'none'}`);
  }
  if (ak.type !== 'ecc' || ak.curve !== 'P-256' || ak.scheme.scheme !== 'ecdsa' || ak.scheme.hash !== 'sha256') {
    throw new EvidenceError('key', 'the attestation key is not bound to ECDSA with P-256 and SHA-256');
  }
  // A credential is activated for a name. Two keys can share a SHA-1 name: a TPM's own, and one
  // that only claims to be.
  if (ak.nameAlg !== 'sha256') {
    throw new EvidenceError('key', `the attestation key is named by ${ak.nameAlg}, expected sha256`);
  }
}

async function importSigningKey(spki: Uint8Array): Promise<VerificationKey> {
  const key = await importPart('attestation key', spki);
  if (key.type === 'ed25519' || (key.type === 'rsa' && (key.bits ?? 0) < 2048)) {
    throw new EvidenceError('key', `no attestation key is of type ${key.type} with ${key.bits ?? 256} bits`);
  }
  return key;
}

async function verifySignatureOver(
  attest: Uint8Array,
  bytes: Uint8Array,
  key: VerificationKey,
): Promise<{ scheme: AuthenticatedQuote['scheme']; hash: HashName }> {
  const signature = parsePart('format', 'signature', bytes, parseSignature);
  if (!(await verifyTpmSignature(signature, key, attest))) {
    throw new EvidenceError('signature', 'the quote is not signed by the attestation key');
  }
  return signature;
}

function parseQuoteAttest(bytes: Uint8Array): QuoteAttest {
  if (!equalBytes(bytes.subarray(0, 4), u32be(TPM_GENERATED))) {
    throw new EvidenceError('magic', 'the attest was not made by a TPM');
  }
  const attest = parsePart('format', 'attest', bytes, parseAttest);
  if (attest.type !== 'quote') throw new EvidenceError('type', `the attest is of type ${attest.type}, not a quote`);
  return attest;
}

function requireNonce(attest: QuoteAttest, expected: Uint8Array): void {
  if (!equalBytes(attest.extraData, expected)) {
    throw new EvidenceError('nonce', `quoted for ${toHex(attest.extraData)}, not for ${toHex(expected)}`);
  }
}

function requireRegisters(attest: QuoteAttest, hash: HashName, selection: PcrSelection, banks: PcrBanks): void {
  if (!sameSelection(attest.selection, selection)) {
    const found = formatSelection(attest.selection);
    throw new EvidenceError('selection', `quoted are ${found}, not ${formatSelection(selection)}`);
  }
  // A value beside the selection is unsigned. Without this, a caller would take it for
  // authenticated.
  const filled = filledBanks(selection);
  const selected = filled.every(({ bank, pcrs }) => banks.get(bank)?.size === pcrs.length);
  if (!selected || banks.size !== filled.length) {
    throw new EvidenceError('registers', 'values were given for other registers than the selected ones');
  }
  const digest = pcrDigest(hash, selection, banks);
  if (digest === undefined || !equalBytes(attest.pcrDigest, digest)) {
    throw new EvidenceError('registers', 'the register values are not the quoted ones');
  }
}
