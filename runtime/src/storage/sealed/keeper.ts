/**
 * The keeper of a sealed store's key: something outside of the state disk that hands a key out
 * again, and that can make sure that it never does.
 */

/** Bytes of a key that a keeper seals. */
export const EPOCH_KEY_BYTES = 32;
/** Bytes of a blob, at most: what a slot of the disk has room for. */
export const MAX_BLOB_BYTES = 2048;

/**
 * Keeps the key of one epoch at a time. An epoch is one more than the one before; a key that was
 * sealed to an epoch opens while that epoch is the present one, and never again.
 *
 * Every method rejects with RefusalError `keeper` if the keeper is not there, answers badly, or
 * refuses. Its message never carries a key.
 */
export interface Keeper {
  readonly kind: 'tpm' | 'simulated';
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
