/**
 * Bytes and proofs: no I/O, browser-safe. It works in two steps: `verifyEvidence` says who signed,
 * `appraise` whether that is enough.
 */

export { appraise } from './appraise/appraise.ts';
export { AppraisalError, CollateralError, DecodeError, EvidenceError } from './errors.ts';
export { type ActivationProof, type Authenticated, type Context, verifyEvidence } from './evidence/index.ts';
export { parseReferences, type References, type RolloutPolicy, withDeployments } from './references/references.ts';
export type { Check, Verdict } from './verdict/verdict.ts';
