/** Differences between a running machine and the rebuilt image and app. */

import { type Authenticated, appraise, type Check, type References } from '@enclaim/attestation';
import { audit, type ClaimedMachine, type Difference, type Rebuilt } from '@enclaim/image';
import { rebuiltReferences } from './rebuilt-references.ts';

/** A machine by its evidence, and the references whose signatures on it are believed. */
export interface Machine {
  readonly authenticated: Authenticated;
  readonly references: References;
}

type Own = Pick<Rebuilt, 'image' | 'bundle'>;

/**
 * Lists every required check of an appraisal that does not pass, with the rebuilt image and app in
 * the references.
 *
 * The registers of a TPM, the command line and the app are first compared part by part, which says
 * more than their checks do. Without a rebuilt app, policy and bundle are not compared.
 */
export async function differencesOfMachine(machine: Machine, rebuilt: Own): Promise<Difference[]> {
  const tpm = tpmOf(machine.authenticated);
  const failed = await failedChecks(machine, rebuilt);
  if (tpm === null) return failed.map((check) => differenceOf(check, []));
  const parts = await audit({ image: null, bundle: null, machine: tpm }, rebuilt);
  const others = failed.filter(({ id }) => !id.startsWith('register.') && (rebuilt.bundle !== null || !OF_APP.has(id)));
  const components = parts.map(({ component }) => component);
  return [
    ...parts,
    ...others.map((check) =>
      differenceOf(
        check,
        components.filter((name) => name === check.id),
      ),
    ),
  ];
}

/** Checks, and parts of the same names. */
const OF_APP: ReadonlySet<string> = new Set(['policy', 'bundle']);

function tpmOf({ hardware, statement, policyBytes }: Authenticated): ClaimedMachine | null {
  if (hardware.kind !== 'tpm') return null;
  const { policy, bundle } = statement;
  return { registers: hardware.registers, launch: { commandLine: hardware.commandLine, policy, bundle }, policyBytes };
}

async function failedChecks({ authenticated, references }: Machine, rebuilt: Own): Promise<Check[]> {
  const { checks } = await appraise(authenticated, rebuiltReferences(references, rebuilt), []);
  return checks.filter(({ required, outcome }) => required && outcome !== 'passed');
}

function differenceOf({ id, detail }: Check, because: readonly string[]): Difference {
  return { component: `check ${id}`, claimed: detail, rebuilt: null, because };
}
