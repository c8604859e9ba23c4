/**
 * Appraisal of a direct launch: the measurements of SEV-SNP, against those that the references
 * predict.
 */

import type { PolicyDigest } from '@enclaim/policy-schema';
import { equalBytes, toHex } from '../bytes.ts';
import { parseDigest, sha256 } from '../digest.ts';
import type { HardwareOf } from '../evidence/authenticated.ts';
import { launchCommandLine, snpLaunchDigest } from '../measure/index.ts';
import type { SnpReference } from '../references/references.ts';
import { pinnedReport } from '../references/snp-pins.ts';
import { appraiseSnp, SNP_CAREFUL, type SnpDemands } from '../snp/index.ts';
import type { BootStatement } from '../statement.ts';
import { type Check, compared, notRun } from '../verdict/verdict.ts';

/** The policy and statement that a launch is compared with. */
export interface Launch {
  readonly policy: PolicyDigest;
  /** Canonical bytes of the policy. */
  readonly policyBytes: Uint8Array;
  readonly statement: BootStatement;
}

/** A report, against the launches that the references name. */
export async function appraiseSnpLaunch(
  hardware: HardwareOf<'snp'>,
  references: readonly SnpReference[],
  launch: Launch,
): Promise<Check[]> {
  const { measurement, hostData } = hardware.snp.report;
  const [first] = references;
  if (first === undefined) return [compared('image', false, 'the references name no launch of platform snp')];
  const { found, detail } = await findSnpLaunch(hardware, references, launch);
  const reference = found ?? first;
  const { floors, idKeys, authorKeys } = reference;
  const demands: SnpDemands = {
    ...SNP_CAREFUL,
    ...pinnedReport(reference),
    idKeys: keyDigests(idKeys),
    authorKeys: keyDigests(authorKeys),
    measurements: [measurement],
    floors: { reported: floors, committed: floors, current: floors, launch: floors },
  };
  return [
    compared('image', found !== null, detail),
    ...appraiseSnp(hardware.snp, demands).filter(({ id }) => !SHOWN_ELSEWHERE.includes(id)),
    policyGiven('snp.host-data', hostData, sha256(launch.policyBytes)),
  ];
}

function keyDigests(keys: SnpReference['idKeys']): SnpDemands['idKeys'] {
  return keys === 'any' ? keys : keys.map((key) => parseDigest('sha384', key));
}

/**
 * The reference whose launch was measured. If there is none, the detail says why, as far as that is
 * known.
 */
async function findSnpLaunch(
  { snp, commandLine }: HardwareOf<'snp'>,
  references: readonly SnpReference[],
  { policy }: Launch,
): Promise<{ found: SnpReference | null; detail: string }> {
  const { measurement } = snp.report;
  let detail = `launch digest ${toHex(measurement)} is none that the references predict`;
  for (const reference of references) {
    const expected = launchCommandLine(reference, policy);
    for (const vcpus of reference.vcpus) {
      const measured = async (line: string): Promise<boolean> =>
        equalBytes(await predictSnp(reference, line, vcpus), measurement);
      if (await measured(expected)) {
        if (commandLine !== expected) return { found: null, detail: MISSTATED };
        return { found: reference, detail: `launch digest as predicted for ${reference.id}` };
      }
      if (await measured(commandLine))
        detail = `command line differs: expected "${expected}", measured "${commandLine}"`;
    }
  }
  return { found: null, detail };
}

function predictSnp(reference: SnpReference, commandLine: string, vcpus: number): Promise<Uint8Array> {
  const { firmware, kernel, initrd, vmm, cpuSignature, features } = reference;
  const { digest, hashesTable, ...layout } = firmware;
  return snpLaunchDigest(
    { ...layout, digest: parseDigest('sha384', digest), hashesTable: hashesTable ?? undefined },
    {
      vmm,
      cpuSignature,
      features: BigInt(features),
      vcpus,
      direct: { kernel: parseDigest('sha256', kernel), initrd: parseDigest('sha256', initrd), commandLine },
    },
  );
}

/** Detail of a failed check: the evidence states another command line than the measured one. */
export const MISSTATED = 'the evidence gives another command line than the one that was measured';

/**
 * Checks that are left out, because a launch's own checks or the verification of the evidence make
 * the comparison.
 */
export const SHOWN_ELSEWHERE: readonly string[] = [
  'snp.measurement',
  'snp.report-data',
  'snp.host-data',
  'tdx.report-data',
  'tdx.mrtd',
  'tdx.rtmr0',
  'tdx.rtmr1',
  'tdx.rtmr2',
  'tdx.rtmr3',
];

/**
 * Checks a field that a host may set to the policy's digest at launch. If the host did not, the
 * launch digest carries the policy.
 */
export function policyGiven(id: string, found: Uint8Array, digest: Uint8Array): Check {
  if (found.every((byte) => byte === 0))
    return notRun(id, 'not set by the host: the launch measurement names the policy');
  return compared(id, equalBytes(found, digest), `${toHex(found)}, expected the policy's ${toHex(digest)}`);
}
