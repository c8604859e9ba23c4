/**
 * Registers in evidence of a TPM: their values, and the check that they carry what the boot
 * statement says.
 */

import type { PolicyDigest } from '@enclaim/policy-schema/admission';
import { equalBytes } from '../bytes.ts';
import { EvidenceError } from '../errors.ts';
import type { PcrValue } from '../gen/enclaim/v1/evidence_pb.js';
import {
  BUNDLE_REGISTER,
  bundleEvent,
  commandLineRegister,
  POLICY_REGISTER,
  policyEvent,
  registerOf,
} from '../measure/index.ts';
import type { BootStatement } from '../statement.ts';
import type { PcrValues } from '../tpm/index.ts';

/**
 * Exactly registers 0 to 15, ascending.
 *
 * **Trust**: none, until a quote over them was verified.
 * @throws EvidenceError `format`
 */
export function registersOf(pcrs: readonly PcrValue[]): PcrValues {
  if (pcrs.length !== 16 || pcrs.some(({ index, sha256 }, place) => index !== place || sha256.length !== 32)) {
    throw new EvidenceError('format', 'registers are not 0 to 15 in order, 32 bytes each');
  }
  return new Map(pcrs.map(({ index, sha256 }) => [index, sha256]));
}

/**
 * Checks that policy and bundle of the statement are the ones that the guest extended before it
 * used anything of them.
 * @throws EvidenceError `binding`
 */
export function verifyMeasured(registers: PcrValues, { policy, bundle }: BootStatement): void {
  const expected = [
    [POLICY_REGISTER, registerOf(policyEvent(policy as PolicyDigest)), 'policy'],
    [BUNDLE_REGISTER, registerOf(bundleEvent(bundle)), 'bundle'],
  ] as const;
  for (const [register, value, what] of expected) {
    if (!equalBytes(registers.get(register) ?? new Uint8Array(), value)) {
      throw new EvidenceError('binding', `register ${register} does not carry the stated ${what}`);
    }
  }
}

/**
 * The command line in the evidence, if it is the one that the stub measured; null if the stub
 * measured none.
 * @throws EvidenceError `binding`
 */
export function verifyCommandLine(commandLine: string, registers: PcrValues): string | null {
  const passed = commandLine === '' ? null : commandLine;
  if (!equalBytes(registers.get(12) ?? new Uint8Array(), commandLineRegister(passed))) {
    throw new EvidenceError('binding', 'register 12 does not carry the given command line');
  }
  return passed;
}
