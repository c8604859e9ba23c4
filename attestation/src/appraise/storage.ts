/** Appraisal of the state that outlives a boot, as the boot states it. */

import type { BootStatement, Platform, StatedStorage } from '../statement.ts';
import { type Check, compared } from '../verdict/verdict.ts';

const KEEPERS = {
  tpm: "the machine's TPM; a host that runs the TPM itself can have it, and put TPM and disk back",
  simulated: 'a program that pretends to be a TPM',
} as const;

/** Platforms whose machines have a keeper of each kind. */
const PLATFORMS: Readonly<Record<keyof typeof KEEPERS, readonly Platform[]>> = {
  tpm: ['tpm', 'azure-snp', 'azure-tdx', 'gcp'],
  simulated: ['simulated'],
};

/**
 * The epoch that a boot began, and what keeps its key. A boot that states none has no sealed
 * collections, and no check.
 *
 * **Trust**: the statement. In the VM the supervisor, which is measured, signs none that names
 * another keeper or epoch than it gave.
 */
export function appraiseStorage(statement: BootStatement): Check[] {
  if (statement.version !== 3 || statement.storage === undefined) return [];
  const { platform, storage } = statement;
  const { keeper, epoch } = storage;
  const isThere = PLATFORMS[keeper].includes(platform);
  const found = `sealed, epoch ${epoch}, ${beginningOf(storage)}`;
  const where = isThere ? '' : `, which platform ${platform} has not`;
  return [compared('storage', isThere, `${found}; the key is kept by ${KEEPERS[keeper]}${where}`)];
}

function beginningOf({ began, predecessor, recovery }: StatedStorage): string {
  if (recovery !== undefined) return `with an older copy of the disk, which signers of the policy stated (${recovery})`;
  if (predecessor !== undefined) return `with what was kept under policy ${predecessor.policy}`;
  return began === 'new' ? 'begun with nothing kept' : 'with what was kept';
}
