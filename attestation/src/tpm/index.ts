/** TPM 2.0: wire structures, quotes and event logs. Pure: no I/O. */

export {
  ALG_NULL,
  CURVE_LENGTH,
  type CurveName,
  HASH_ID,
  hashId,
  MAX_COORDINATE,
  MAX_DIGEST,
  MAX_NAME,
} from './algorithm.ts';
export { type Attest, type CertifyAttest, type ClockInfo, parseAttest, type QuoteAttest } from './attest.ts';
export { type EndorsementKey, parseEndorsementKey } from './endorsement.ts';
export {
  authenticateEventLog,
  EV_NO_ACTION,
  type EventLog,
  eventLogLength,
  type LogEvent,
  parseEventLog,
  type ReplayedEvent,
  replayEventLog,
  type UntrustedDescription,
} from './event-log.ts';
export {
  type BankSelection,
  extendPcr,
  formatSelection,
  PCR_COUNT,
  type PcrBanks,
  type PcrSelection,
  type PcrValues,
  pcrDigest,
  pcrSelection,
  zeroPcr,
} from './pcr.ts';
export {
  type EccPublic,
  encodePublic,
  HIERARCHY,
  type Hierarchy,
  leftPad,
  nameOf,
  type ObjectAttribute,
  parsePublic,
  qualifiedNameOfPrimary,
  type RsaPublic,
  type Symmetric,
  spkiOf,
  symmetric,
  type TpmPublic,
  tpmPublic,
} from './public-area.ts';
export {
  type AuthenticatedAkQuote,
  type AuthenticatedQuote,
  QUOTE_SELECTION,
  verifyQuote,
  verifyQuoteUnderKey,
} from './quote.ts';
export { parseSignature, type TpmSignature } from './signature.ts';
// The wire itself, for the binding in guest/ that sends commands.
export {
  type Codec,
  decodeWhole,
  fixed,
  flags,
  list,
  named,
  prefixed,
  rest,
  sized,
  struct,
  suffixed,
  tagged,
  tpm2b,
  u8,
  u16,
  u32,
  u64,
  yesNo,
} from './wire.ts';
