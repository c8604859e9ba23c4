/** Evidence and receipts from files: verified offline, on Node and in browsers. */

import { appraise, type References, verifyEvidence } from '@enclaim/attestation';
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
export async function verifySaved(
  evidence: Uint8Array,
  { references, demands = [], now = Date.now, newerThan, known }: SavedOptions,
): Promise<Attestation> {
  const context = { now: now(), channel: 'offline', activation: null } as const;
  const authenticated = await verifyEvidence(evidence, references.anchors, context);
  const verdict = await appraise(authenticated, references, demands, { newerThan, known });
  return { verdict, statement: authenticated.statement, bootDigest: authenticated.bootDigest, evidence };
}
