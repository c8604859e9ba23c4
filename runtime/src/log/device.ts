/** The device that records are written to. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';

/**
 * Bytes at offsets. A write is on stable storage once it has resolved; an open file that does not
 * promise this is no device.
 */
export type Device = Pick<FileHandle, 'read' | 'write' | 'close'> & Partial<Pick<FileHandle, 'fd'>>;

/**
 * Opens a raw device or a file that exists. Writes themselves wait for the disk (`O_DSYNC`).
 * **Cost**: a sync after each write would be a second turn through the kernel.
 */
export function openDevice(path: string): Promise<Device> {
  return open(path, constants.O_RDWR | constants.O_DSYNC);
}
