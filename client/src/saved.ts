/** Evidence and receipts from files: verified offline, on Node and in browsers. */

import { type Authenticated, appraise, EvidenceError, type References, verifyEvidence } from '@enclaim/attestation';
import { type NamedRecord, type ProvenRecord, verifyRecordProof } from '@enclaim/attestation/record-proof';
import type { Demand, Policy } from '@enclaim/policy-schema';
import type { Attestation } from './attestation.ts';

/** Demands on saved evidence. */
export interface SavedOptions {
  readonly references: References;
  readonly demands?: readonly Demand[];
  /**
   * Milliseconds since 1970 at which certificates must be valid; by default this machine's clock.
   */
  readonly now?: () => number;
  /** The boot must have begun then or later, milliseconds since 1970; by default whenever. */
  readonly newerThan?: number | undefined;
  /** Policies that the client has, for demands that compare with one (`neverWeakerThan`). */
  readonly known?: readonly Policy[] | undefined;
}

/**
 * Verifies saved evidence. The verdict says that freshness and channel were not checked.
 * @throws EvidenceError, AppraisalError
 *
 * @example
 * ```ts
 * import { readFile } from 'node:fs/promises';
 * import { parseReferences, verifySaved } from '@enclaim/client';
 *
 * const references = parseReferences(await readFile('references.json'));
 * const { verdict } = await verifySaved(await readFile('now.evidence'), { references });
 * console.log(verdict.ok, verdict.end);
 * ```
 */
export async function verifySaved(evidence: Uint8Array, options: SavedOptions): Promise<Attestation> {
  const { references, now = Date.now } = options;
  const context = { now: now(), channel: 'offline', activation: null } as const;
  return appraiseSaved(evidence, await verifyEvidence(evidence, references.anchors, context), options);
}

/**
 * Verifies a saved proof of a record.
 * @param record as a receipt or a file names it, which is not authentic yet
 * @throws EvidenceError, AppraisalError
 */
export async function verifySavedProof(
  bytes: Uint8Array,
  record: NamedRecord | null,
  options: SavedOptions,
): Promise<{ readonly attestation: Attestation; readonly proof: ProvenRecord }> {
  const { references, now = Date.now } = options;
  if (record === null) throw new EvidenceError('binding', 'the receipt names no place in the log, and has a proof');
  const proof = await verifyRecordProof(bytes, record, references.anchors, { now: now() });
  return { attestation: await appraiseSaved(proof.evidence, proof.authenticated, options), proof };
}

async function appraiseSaved(
  evidence: Uint8Array,
  authenticated: Authenticated,
  { references, demands = [], newerThan, known }: SavedOptions,
): Promise<Attestation> {
  const verdict = await appraise(authenticated, references, demands, { newerThan, known });
  return { verdict, statement: authenticated.statement, bootDigest: authenticated.bootDigest, evidence };
}
