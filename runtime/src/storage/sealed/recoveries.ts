/**
 * The recovery that a disk brings: signers of the policy have stated that this system goes on with
 * an older copy of its state (docs/operate/state.md, "An older copy").
 */

import { type DigestText, digestText } from '@enclaim/attestation/digest';
import {
  type RecoveryDocument,
  readRecovery,
  recoveryDigest,
  type VerifiedRecovery,
  verifyRecovery,
} from '@enclaim/attestation/recovery';
import type { Policy, PolicyDigest } from '@enclaim/policy-schema/admission';
import { RefusalError } from '../../errors.ts';
import type { RecordLog } from '../../log/record-log.ts';

/** Judges a recovery by its signatures alone. @throws RefusalError `state` */
export type RecoveryJudge = (recovery: Uint8Array) => Promise<VerifiedRecovery>;

/** Judges recoveries by the signers of a policy. */
export function recoveriesUnder(policy: PolicyDigest, { succession }: Pick<Policy, 'succession'>): RecoveryJudge {
  return (bytes) => refusing(() => verifyRecovery(bytes, policy, { succession }));
}

/** A recovery that stands on a disk, not yet judged. */
interface FoundRecovery {
  readonly bytes: Uint8Array;
  readonly document: RecoveryDocument;
  readonly digest: DigestText<'sha256'>;
}

async function recoveryAt({ state }: Pick<RecordLog, 'state'>): Promise<FoundRecovery | undefined> {
  const bytes = await state.readRecovery();
  if (bytes === undefined) return undefined;
  const { document } = await refusing(async () => readRecovery(bytes));
  return { bytes, document, digest: digestText('sha256', recoveryDigest(document)) };
}

/**
 * The recovery that a disk brings for an epoch; undefined without one. One of an epoch before has
 * had its time; one of an epoch that never was is no recovery from this disk.
 *
 * Without signatures that hold, a boot would say of records that a host has cut off that signers
 * gave them up.
 * @param before digest of a recovery of a launch before, whose epochs count for nothing here
 * @throws RefusalError `state` for one that does not hold, or is of another disk
 */
export async function recoveryOn(
  log: RecordLog,
  epoch: number,
  judge: RecoveryJudge | undefined,
  before?: DigestText<'sha256'>,
): Promise<DigestText<'sha256'> | undefined> {
  const found = await recoveryAt(log);
  if (found === undefined || found.digest === before) return undefined;
  const { bytes, document } = found;
  if (document.epoch < epoch) return undefined;
  if (document.epoch > epoch)
    throw new RefusalError('state', `a recovery of epoch ${document.epoch}, and the keeper is at epoch ${epoch}`);
  if (judge === undefined) throw new RefusalError('state', 'a recovery, and nothing judges it here');
  const { digest } = await judge(bytes);
  const { size, root } = log.durable;
  const tree = digestText('sha256', root);
  // layer: disks of a recovery
  if (document.log.size !== size || document.log.root !== tree)
    throw new RefusalError('state', `a recovery of ${document.log.size} records, and a log of ${size}, ${tree}`);
  return digest;
}

/**
 * The recovery of a launch before that is still on the disk of its heir, which has to know it
 * again: the heir counts its epochs anew.
 *
 * An heir says by which succession its state came, and of no recovery. So it refuses state that
 * signers have stated to be an older copy.
 * @param epoch that was handed over
 * @param before as {@link recoveryOn}, for the launch before
 * @throws RefusalError `state` for a recovery of that epoch, or a later one
 */
export async function recoveryBefore(
  log: RecordLog,
  epoch: number,
  before: DigestText<'sha256'> | undefined,
): Promise<DigestText<'sha256'> | undefined> {
  const found = await recoveryAt(log);
  if (found === undefined || found.digest === before) return before;
  const { document, digest } = found;
  // layer: recoveries that an heir would not state
  if (document.epoch >= epoch)
    throw new RefusalError(
      'state',
      `a recovery of epoch ${document.epoch}, for the launch before, which hands epoch ${epoch} over: boot that one first`,
    );
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
