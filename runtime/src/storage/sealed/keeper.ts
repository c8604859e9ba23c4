/**
 * The keeper of a sealed store's key: something outside of the state disk that hands a key out
 * again, and that can make sure that it never does.
 */

import { fromBase64, toBase64 } from '@enclaim/attestation/bytes';
import type { DigestText } from '@enclaim/attestation/digest';
import type { StatedStorage } from '@enclaim/attestation/statement';
import type { StatedPassage } from '../../control.ts';

/** Bytes of a key that a keeper seals. */
export const EPOCH_KEY_BYTES = 32;
/** Bytes of a blob, at most: what a slot of the disk has room for. */
export const MAX_BLOB_BYTES = 2048;

/**
 * Values of the registers that keys are sealed to, as a launch leaves them, in the order of
 * `SEALING_REGISTERS` (attestation).
 */
export type Registers = readonly Uint8Array[];

/** The way of a state from one launch to another. */
export interface Passage {
  /** The policy that it comes from. */
  readonly policy: DigestText<'sha384'>;
  readonly from: Registers;
  readonly to: Registers;
}

/** A passage as text. */
export function statedPassage({ policy, from, to }: Passage): StatedPassage {
  return { policy, from: from.map(toBase64), to: to.map(toBase64) };
}

/** The passage of a text. */
export function passageOf({ policy, from, to }: StatedPassage): Passage {
  return { policy, from: from.map(fromBase64), to: to.map(fromBase64) };
}

/**
 * The part of a keeper that passes state to another launch. Errors are those of {@link Keeper},
 * also where this launch is not at the end of the passage that a method says.
 */
export interface HeirKeeper {
  /** The key of the present epoch, sealed to where it goes. This launch is where it comes from. */
  handOver(key: Uint8Array, passage: Passage): Promise<Uint8Array>;
  /** The present epoch of the launch where it goes; 0 if none ever began. */
  epochOfHeir(passage: Passage): Promise<number>;
  /**
   * The key that was handed over, in its epoch. This launch is where it goes, and has begun no
   * epoch in this boot yet.
   */
  takeOver(blob: Uint8Array, passage: Passage): Promise<Uint8Array>;
  /**
   * Has this boot say that its state came from the launch before, though an earlier boot took it
   * over. This launch is where it goes, and has begun no epoch in this boot yet.
   */
  resume(passage: Passage): Promise<void>;
  /**
   * Ends the epochs of the launch before for good, once an epoch of this one has begun.
   *
   * @param passage that by which this boot took over or resumed
   * @param epoch the epoch of that launch whose key was taken over: it has begun none since
   */
  retire(passage: Passage, epoch: number): Promise<void>;
}

/**
 * Keeps the key of one epoch at a time. An epoch is one more than the one before; a key that was
 * sealed to an epoch opens while that epoch is the present one, and never again.
 *
 * Every method rejects with RefusalError `keeper` if the keeper is not there, answers badly, or
 * refuses. Its message never carries a key.
 */
export interface Keeper {
  readonly kind: StatedStorage['keeper'];
  /** Absent where state passes to no other launch. */
  readonly heirs?: HeirKeeper;
  /**
   * Has this boot say that it goes on with an older copy of its disk, by a recovery that holds. It
   * has begun no epoch yet. Absent where a boot cannot say so.
   */
  readonly recover?: (recovery: DigestText<'sha256'>) => Promise<void>;
  /** The present epoch; 0 if the keeper has never kept one for this system. */
  epoch(): Promise<number>;
  /**
   * A key, sealed to a later epoch.
   *
   * @param key {@link EPOCH_KEY_BYTES} bytes, which the caller wipes
   * @param epoch the present one and 1
   * @returns at most {@link MAX_BLOB_BYTES} bytes, which the host may read
   * @throws RefusalError `keeper`
   */
  seal(key: Uint8Array, epoch: number): Promise<Uint8Array>;
  /**
   * The key of a blob that was sealed to the present epoch.
   *
   * @throws RefusalError `keeper` for a blob of another epoch or keeper, and for any other bytes
   */
  open(blob: Uint8Array): Promise<Uint8Array>;
  /**
   * Makes the next epoch the present one. Blobs of the one before never open again. After an error
   * either may be the present one: {@link epoch} says which.
   *
   * @returns the present epoch
   * @throws RefusalError `keeper`
   */
  advance(): Promise<number>;
}
