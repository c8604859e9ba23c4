/** Bytes and proofs: no I/O, browser-safe. */

export { AppraisalError, CollateralError, DecodeError, EvidenceError } from './errors.ts';
