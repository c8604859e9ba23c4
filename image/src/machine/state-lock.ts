/** The lock of a state folder: one machine runs on it, or one program copies it. */

import { createHash } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { MachineError } from './error.ts';

/**
 * Holds a state folder until the lock is disposed of or this process ends. It is the name of a
 * socket that is no file (unix(7), abstract), so that the kernel takes it back however a run ends.
 *
 * @throws MachineError `state-held` if another process holds it
 */
export async function holdState(stateFolder: string): Promise<AsyncDisposable> {
  const name = createHash('sha256')
    .update(await realpath(stateFolder))
    .digest('hex');
  const server = createServer((socket) => socket.destroy());
  await listening(server, `\0enclaim-state-${name}`).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'EADDRINUSE') throw cause;
    throw new MachineError('state-held', `${stateFolder} is held: a machine runs on it, or it is being copied`, {
      cause,
    });
  });
  // It keeps no process alive.
  server.unref();
  return { [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())) };
}

/**
 * Refuses a disk that some process has locked, as QEMU locks each disk that it writes: also one
 * that was started without this package.
 *
 * **Trust**: the kernel's list of locks, as far as this process sees it.
 * @throws MachineError `state-held`
 */
export async function refuseLockedDisk(disk: string, locks = '/proc/locks'): Promise<void> {
  const { ino } = await stat(disk, { bigint: true });
  const text = await readFile(locks, 'utf8').catch(() => '');
  // layer: locks of a disk
  if (isLocked(text, ino)) throw new MachineError('state-held', `${disk} is locked by a process: a machine runs on it`);
}

/** Whether the kernel's list names a lock of an inode: `… MAJOR:MINOR:INODE START END`. */
function isLocked(text: string, inode: bigint): boolean {
  return text.split('\n').some((line) => new RegExp(`\\s[0-9a-f]+:[0-9a-f]+:${inode}\\s`).test(line));
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen({ path }, resolve);
  });
}
