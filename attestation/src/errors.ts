/**
 * The errors of this room, one class per stage (see docs/reference/formats.md for the wire they
 * speak of).
 */

/** Why bytes could not be read as the format they claim to be. */
export type DecodeErrorCode =
  | 'truncated'
  | 'trailing'
  | 'range'
  | 'reserved'
  | 'version'
  | 'magic'
  | 'syntax'
  | 'canonical';

/** Bytes are not the format they claim to be. Says nothing about who made them. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError';
  readonly code: DecodeErrorCode;
  /** Offset in bytes of the first byte at fault, from the start of the input. */
  readonly at: number;

  constructor(code: DecodeErrorCode, message: string, at: number, options?: ErrorOptions) {
    super(`${message} (offset ${at})`, options);
    this.code = code;
    this.at = at;
  }
}

/** The layer of authenticity that refused. Stable: conformance cases and callers match on it. */
export type EvidenceErrorCode =
  | 'platform' // the platform is not one the caller accepts
  | 'format' // a part does not parse; the DecodeError is the cause
  | 'signature' // the hardware signature does not verify
  | 'chain' // no path to a pinned root
  | 'validity' // a certificate or collateral is outside its dates
  | 'revoked' // a certificate is on a CRL
  | 'collateral' // collateral is missing, unsigned or does not fit
  | 'identity' // the certificate is not this device's (chip id, TCB, FMSPC …)
  | 'key' // the signing key lacks the attributes that make its signature mean anything
  | 'magic' // a structure was not made by the hardware itself
  | 'type' // a structure of another type stands where evidence is expected
  | 'selection' // other registers were signed than the format demands
  | 'registers' // the register values are not the signed ones
  | 'nonce' // stale, or made for another verifier
  | 'binding' // keys, statement, policy or channel do not belong to this evidence
  | 'log'; // an event log does not replay to the signed registers

/** Evidence is not authentic: its signer is not shown, or its parts do not belong together. */
export class EvidenceError extends Error {
  override readonly name = 'EvidenceError';
  readonly code: EvidenceErrorCode;

  constructor(code: EvidenceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/**
 * Why appraisal could not be carried out. A failed comparison is a check of the verdict, not an
 * error.
 */
export type AppraisalErrorCode = 'references' | 'demand';

/** Authentic evidence could not be appraised: the references or demands themselves are unusable. */
export class AppraisalError extends Error {
  override readonly name = 'AppraisalError';
  readonly code: AppraisalErrorCode;

  constructor(code: AppraisalErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Why collateral could not be had. */
export type CollateralErrorCode = 'missing' | 'stale' | 'unreachable';

/** Collateral (CRLs, TCB info, identities) could not be had; trying again may help. */
export class CollateralError extends Error {
  override readonly name = 'CollateralError';
  readonly code: CollateralErrorCode;
  readonly retryable: boolean;

  constructor(code: CollateralErrorCode, message: string, options?: ErrorOptions & { retryable?: boolean }) {
    super(message, options);
    this.code = code;
    this.retryable = options?.retryable ?? code === 'unreachable';
  }
}
