/**
 * The recovery that a disk brings: signers of the policy have stated that this system goes on with
 * an older copy of its state (docs/operate/state.md, "An older copy").
 */

import { type DigestText, digestText } from '@enclaim/attestation/digest';
import { readRecovery, type VerifiedRecovery, verifyRecovery } from '@enclaim/attestation/recovery';
import type { Policy, PolicyDigest } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../../errors.ts';
import type { RecordLog } from '../../log/record-log.ts';

/** Judges a recovery by its signatures alone. @throws RefusalError `state` */
export type RecoveryJudge = (recovery: Uint8Array) => Promise<VerifiedRecovery>;

/** Judges recoveries by the signers of a policy. */
export function recoveriesUnder(policy: PolicyDigest, { succession }: Pick<Policy, 'succession'>): RecoveryJudge {
  return (bytes) => refusing(() => verifyRecovery(bytes, policy, { succession }));
}

/**
 * The recovery that a disk brings for an epoch; undefined without one. One of an epoch before has
 * had its time; one of an epoch that never was is no recovery from this disk.
 *
 * Without signatures that hold, a boot would say of records that a host has cut off that signers
 * gave them up.
 * @throws RefusalError `state` for one that does not hold, or is of another disk
 */
export async function recoveryOn(
  log: RecordLog,
  epoch: number,
  judge: RecoveryJudge | undefined,
): Promise<DigestText<'sha256'> | undefined> {
  const bytes = await log.state.readRecovery();
  if (bytes === undefined) return undefined;
  const { document } = await refusing(async () => readRecovery(bytes));
  if (document.epoch < epoch) return undefined;
  if (document.epoch > epoch)
    throw new RefusalError('state', `a recovery of epoch ${document.epoch}, and the keeper is at epoch ${epoch}`);
  if (judge === undefined) throw new RefusalError('state', 'a recovery, and nothing judges it here');
  const { digest } = await judge(bytes);
  const { size, root } = log.durable;
  const found = digestText('sha256', root);
  // layer: disks of a recovery
  if (document.log.size !== size || document.log.root !== found)
    throw new RefusalError('state', `a recovery of ${document.log.size} records, and a log of ${size}, ${found}`);
  return digest;
}

async function refusing<T>(judge: () => Promise<T>): Promise<T> {
  try {
    return await judge();
  } catch (cause) {
    if (cause instanceof RefusalError) throw cause;
    throw new RefusalError('state', `the disk's recovery: ${(cause as Error).message}`, { cause });
  }
}
