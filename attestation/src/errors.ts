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

/**
 * Bytes are not the format they claim to be. Says nothing about who made them.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { DecodeError, parseReceiptFile } from '@enclaim/client';
 *
 * try {
 *   parseReceiptFile(await readFile('note.enclaim-receipt'));
 * } catch (error) {
 *   if (error instanceof DecodeError) console.error(error.code, error.message);
 * }
 * ```
 */
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

/**
 * Evidence is not authentic: its signer is not shown, or its parts do not belong together.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { EvidenceError, parseReferences, verifyEvidence } from '@enclaim/attestation';
 *
 * try {
 *   const { anchors } = parseReferences(await readFile('references.json'));
 *   const context = { now: Date.now(), channel: 'offline', activation: null } as const;
 *   await verifyEvidence(await readFile('now.evidence'), anchors, context);
 * } catch (error) {
 *   if (error instanceof EvidenceError) console.error(error.code, error.message);
 * }
 * ```
 */
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

/**
 * Authentic evidence could not be appraised: the references or demands themselves are unusable.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { AppraisalError, parseReferences } from '@enclaim/attestation';
 *
 * try {
 *   parseReferences(await readFile('references.json'));
 * } catch (error) {
 *   if (error instanceof AppraisalError) console.error(error.code, error.message);
 * }
 * ```
 */
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

/**
 * Collateral (CRLs, TCB info, identities) could not be had; trying again may help.
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { CollateralError, connect } from '@enclaim/client';
 *
 * try {
 *   const references = await readFile('references.json');
 *   await using server = await connect('intake.example:443', { references });
 *   console.log(server.getTarget());
 * } catch (error) {
 *   if (error instanceof CollateralError) console.error(error.code, error.retryable);
 * }
 * ```
 */
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
