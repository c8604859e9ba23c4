/** The device that records are written to. */

import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { RefusalError } from '../errors.ts';

/**
 * Bytes at offsets. A write is on stable storage once it has resolved; an open file that does not
 * promise this is no device.
 */
export type Device = Pick<FileHandle, 'read' | 'write' | 'close'> & Partial<Pick<FileHandle, 'fd'>>;

/**
 * Opens a raw device or a file that exists. Writes themselves wait for the disk (`O_DSYNC`).
 * **Cost**: a sync after each write would be a second turn through the kernel.
 *
 * @throws RefusalError `log` if it is not there, or takes no writes
 */
export function openDevice(path: string): Promise<Device> {
  return asked('opened for reading and writing', () => open(path, constants.O_RDWR | constants.O_DSYNC));
}

/**
 * The result of a step of the device.
 *
 * @throws RefusalError `log` with the system's own word for what failed, such as EIO
 */
export async function asked<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new RefusalError('log', `the state disk cannot be ${what}: ${code ?? message}`, { cause });
  }
}
