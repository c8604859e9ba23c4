/** Appraisal of the state that outlives a boot, as the boot states it. */

import type { BootStatement, Platform, StatedStorage } from '../statement.ts';
import { type Check, compared } from '../verdict/verdict.ts';

const KEEPERS = {
  tpm: "the machine's TPM; a host that runs the TPM itself can have it, and put TPM and disk back",
  peer: 'another attested machine; what a host of that one can do is in its own evidence',
  simulated: 'a program that pretends to be a TPM',
} as const;

/** Platforms whose machines have a keeper of each kind. */
const PLATFORMS: Readonly<Record<keyof typeof KEEPERS, readonly Platform[]>> = {
  tpm: ['tpm', 'azure-snp', 'azure-tdx', 'gcp'],
  peer: ['snp', 'tdx', 'nitro'],
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
  const { keeper, epoch, began, peer } = storage;
  const isThere = PLATFORMS[keeper].includes(platform);
  // Such a boot has no state yet. Its statement is for its keeper, and for no client.
  // layer: boots that still ask
  if (began === 'asking')
    return [compared('storage', false, 'sealed; this boot asks its keeper still, and serves nothing')];
  const found = `sealed, epoch ${epoch}, ${beginningOf(storage)}`;
  const where = isThere ? '' : `, which platform ${platform} has not`;
  const whom = peer === undefined ? '' : ` (policy ${peer.policy}, boot ${peer.boot})`;
  return [compared('storage', isThere, `${found}; the key is kept by ${KEEPERS[keeper]}${whom}${where}`)];
}

function beginningOf({ began, predecessor, recovery }: StatedStorage): string {
  if (recovery !== undefined) return `with an older copy of the disk, which signers of the policy stated (${recovery})`;
  if (predecessor !== undefined) return `with what was kept under policy ${predecessor.policy}`;
  return began === 'new' ? 'begun with nothing kept' : 'with what was kept';
}
