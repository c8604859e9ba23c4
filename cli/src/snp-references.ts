/**
 * Reference values of SEV-SNP launches by QEMU, from an OVMF build and the manifests of base
 * images.
 */

import { digestText } from '@enclaim/attestation/digest';
import { describeSnpFirmware, qemuCpuSignature } from '@enclaim/attestation/measure';
import type { SnpReference } from '@enclaim/attestation/references';
import type { Manifest } from '@enclaim/image';
import { readInput } from './input.ts';
import { UsageError } from './usage-error.ts';

/** Options that describe a launch, as the command line has them. */
export interface SnpLaunchFlags {
  readonly snpFirmware: readonly string[];
  readonly vcpus: readonly string[];
  readonly cpu: string;
  readonly tcbFloors?: string;
  /**
   * SHA-384 of accepted keys of ID blocks and of those that certify them. If none is named, any is
   * accepted.
   */
  readonly idKey: readonly string[];
  readonly authorKey: readonly string[];
}

/** SEV_FEATURES of a QEMU guest: SNP, and nothing beside it. */
const FEATURES = 1;

/** One launch for each firmware and image. @throws UsageError, DecodeError */
export async function snpReferences(flags: SnpLaunchFlags, manifests: readonly Manifest[]): Promise<SnpReference[]> {
  if (flags.snpFirmware.length === 0) return [];
  const cpuSignature = qemuCpuSignature(flags.cpu);
  if (cpuSignature === undefined) throw new UsageError(`--cpu ${flags.cpu}: expected a QEMU model such as EPYC-v4`);
  const machine = { vmm: 'qemu', cpuSignature, features: FEATURES, vcpus: flags.vcpus.map(Number) } as const;
  const floors = await floorsOf(flags.tcbFloors);
  const builds = await Promise.all(flags.snpFirmware.map(async (path) => describeSnpFirmware(await readInput(path))));
  return builds.flatMap(({ digest, sections, resetEip, hashesTable }) =>
    manifests.map(({ id, artefacts, references }) => ({
      id,
      firmware: { digest: digestText('sha384', digest), sections, resetEip, hashesTable: hashesTable ?? null },
      kernel: artefacts.kernel.sha256,
      initrd: artefacts.initrd.sha256,
      commandLine: references.tpm.commandLine,
      ...machine,
      floors,
      idKeys: keys(flags.idKey),
      authorKeys: keys(flags.authorKey),
    })),
  );
}

/** Digests as references have them; none named accepts any. */
export function keys(digests: readonly string[]): SnpReference['idKeys'] {
  return digests.length === 0 ? 'any' : (digests as SnpReference['idKeys']);
}

/**
 * Reads floors from a file, or the word that says that there are none. An absent option does not
 * stand for that word.
 */
export async function floorsOf(given: string | undefined): Promise<SnpReference['floors']> {
  if (given === undefined)
    throw new UsageError('--snp-firmware needs --tcb-floors, a JSON file by product line, or "any"');
  if (given === 'any') return given;
  try {
    // The references are checked as a whole once they are put together.
    return JSON.parse(Buffer.from(await readInput(given)).toString('utf8')) as SnpReference['floors'];
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`--tcb-floors ${given} is not JSON: ${(cause as Error).message}`, { cause });
  }
}
