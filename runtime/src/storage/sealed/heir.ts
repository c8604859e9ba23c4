/**
 * The legacy of a boot for its heir, at the end of a slot, in the clear: the key of the slot's
 * epoch, sealed to the heir's registers, and the succession that it rests on (formats,
 * "Succession").
 */

import { decodeHeir, encodeHeir, HEIR_BYTES, type Heir } from '@enclaim/attestation/log-disk';
import { RefusalError } from '../../errors.ts';
import type { StateDisk } from '../../log/state-disk.ts';
import type { SlotWriter } from './slot.ts';

/** Name of the collection of successions. No policy has such a name for one of its own. */
export const SUCCESSION_COLLECTION = '$succession';

/** Leaves something behind the index of a slot. @throws RefusalError `state` without room */
export async function writeHeir(disk: StateDisk, slot: number, writer: SlotWriter, heir: Heir): Promise<void> {
  if (writer.left < HEIR_BYTES)
    throw new RefusalError('state', `an index that leaves less than ${HEIR_BYTES} bytes of its slot for an heir`);
  await disk.writeSlot(slot, disk.slotBytes - HEIR_BYTES, encodeHeir(heir));
}

/**
 * The legacy in a slot; undefined if there is none that is whole.
 *
 * **Trust**: the host's bytes. The heir judges the succession, and the keeper the key.
 */
export async function readHeir(disk: StateDisk, slot: number): Promise<Heir | undefined> {
  if (disk.slotBytes < HEIR_BYTES) return undefined;
  return decodeHeir(await disk.readSlot(slot, disk.slotBytes - HEIR_BYTES, HEIR_BYTES));
}
