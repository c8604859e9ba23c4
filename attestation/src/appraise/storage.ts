/** Appraisal of the state that outlives a boot, as the boot states it. */

import type { PeerKeeper, Policy } from '@enclaim/policy-schema/admission';
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
 * collections, and no check. A peer has to run the policy that `storage.keeper` of the boot's own
 * policy names.
 *
 * **Trust**: the statement. In the VM the supervisor, which is measured, signs none that names
 * another keeper or epoch than it gave. Which peer was asked is the runtime's word.
 */
export function appraiseStorage(statement: BootStatement, { storage: demanded }: Pick<Policy, 'storage'>): Check[] {
  if (statement.version !== 3 || statement.storage === undefined) return [];
  const { platform, storage } = statement;
  const { keeper, epoch, began, peer } = storage;
  const isThere = PLATFORMS[keeper].includes(platform);
  // Such a boot has no state yet. Its statement is for its keeper, and for no client.
  // layer: boots that still ask
  if (began === 'asking')
    return [compared('storage', false, 'sealed; this boot asks its keeper still, and serves nothing')];
  const strange = peer === undefined ? undefined : strangePeer(peer, statement.policy, demanded?.keeper);
  const found = `sealed, epoch ${epoch}, ${beginningOf(storage)}`;
  const where = isThere ? '' : `, which platform ${platform} has not`;
  const whom = peer === undefined ? '' : ` (policy ${peer.policy}, boot ${peer.boot})`;
  const said = strange === undefined ? '' : `, and ${strange}`;
  // layer: peers that the policy names (off: isThere)
  const holds = isThere && strange === undefined;
  return [compared('storage', holds, `${found}; the key is kept by ${KEEPERS[keeper]}${whom}${where}${said}`)];
}

/** The word on a peer that is not the one that a policy names; undefined for that one. */
function strangePeer(
  { policy: stated }: NonNullable<StatedStorage['peer']>,
  own: BootStatement['policy'],
  named: PeerKeeper | undefined,
): string | undefined {
  if (named === undefined) return 'the policy names no keeper';
  const policy = named.policy === 'same' ? own : named.policy;
  return policy === stated ? undefined : `the policy names a keeper under policy ${policy}`;
}

function beginningOf({ began, predecessor, recovery }: StatedStorage): string {
  if (recovery !== undefined) return `with an older copy of the disk, which signers of the policy stated (${recovery})`;
  if (predecessor !== undefined) return `with what was kept under policy ${predecessor.policy}`;
  return began === 'new' ? 'begun with nothing kept' : 'with what was kept';
}
