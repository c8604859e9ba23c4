/** TPM 2.0: wire structures, quotes and event logs. Pure: no I/O. */

export { type CurveName, HASH_ID } from './algorithm.ts';
export { type Attest, type CertifyAttest, type ClockInfo, parseAttest, type QuoteAttest } from './attest.ts';
export {
  type BankSelection,
  extendPcr,
  formatSelection,
  PCR_COUNT,
  type PcrBanks,
  type PcrSelection,
  type PcrValues,
  pcrDigest,
  zeroPcr,
} from './pcr.ts';
export {
  type EccPublic,
  encodePublic,
  HIERARCHY,
  type Hierarchy,
  nameOf,
  type ObjectAttribute,
  parsePublic,
  qualifiedNameOfPrimary,
  type RsaPublic,
  spkiOf,
  type TpmPublic,
} from './public-area.ts';
export {
  type AuthenticatedAkQuote,
  type AuthenticatedQuote,
  QUOTE_SELECTION,
  verifyQuote,
  verifyQuoteUnderKey,
} from './quote.ts';
export { parseSignature, type TpmSignature } from './signature.ts';
