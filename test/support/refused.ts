/** Assertions on refusals: the layer that refused is part of the contract. */

import assert from 'node:assert/strict';
import {
  DecodeError,
  type DecodeErrorCode,
  EvidenceError,
  type EvidenceErrorCode,
} from '../../attestation/src/errors.ts';
import type { Check } from '../../attestation/src/verdict/verdict.ts';

/** `run` ends in an EvidenceError of this code. */
export async function refused(code: EvidenceErrorCode, run: () => Promise<unknown>): Promise<void> {
  await assert.rejects(run, (error: unknown) => {
    assert.ok(error instanceof EvidenceError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

/** `run` ends in an EvidenceError, of whatever code. */
export async function refusedSomewhere(run: () => Promise<unknown>, what: string): Promise<void> {
  await assert.rejects(run, (error: unknown) => error instanceof EvidenceError, what);
}

/** `run` ends in a DecodeError of this code. */
export function undecodable(code: DecodeErrorCode, run: () => unknown): void {
  assert.throws(run, (error: unknown) => {
    assert.ok(error instanceof DecodeError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

/** Names of the required checks that did not pass. */
export function failing(checks: readonly Check[]): string[] {
  return checks.filter(({ required, outcome }) => required && outcome !== 'passed').map(({ id }) => id);
}

/** Whether a verifier always runs a check: what this names depends on the references, or on there being a connection. */
export function isAlwaysRun(id: string): boolean {
  return !/^(nonce|channel|owner|deployment|quote\.events|snp\.(tcb\..*|host-data)|tdx\.mr-config-id)$/.test(id);
}
