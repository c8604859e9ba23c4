/** The device that records are written to. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/** Bytes at places. A write is on stable storage once it has resolved: an open file that does not promise that is no device. */
export type Device = Pick<FileHandle, 'read' | 'write' | 'close'>;

/**
 * Opens a raw device or a file that exists. Writes wait for the disk by themselves (`O_DSYNC`): asking for it afterwards costs
 * a second turn through the kernel.
 */
export function openDevice(path: string): Promise<Device> {
  return open(path, constants.O_RDWR | constants.O_DSYNC);
}
