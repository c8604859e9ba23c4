/** The lock of a state folder: one machine runs on it, or one program copies it. */

import { createHash } from 'node:crypto';
import { open, readFile, realpath } from 'node:fs/promises';
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

/** Files in which the kernel lists locks, mounts, and facts of this process's open files. */
const LISTS = { locks: '/proc/locks', mounts: '/proc/self/mountinfo', files: '/proc/self/fdinfo' };

/**
 * Refuses a disk that some process has locked, as QEMU locks each disk that it writes: also one
 * that was started without this package.
 *
 * **Trust**: the kernel's lists, as far as this process sees them. Where they do not show the
 * device of the disk, a lock of any file with its number counts.
 * @throws MachineError `state-held`
 */
export async function refuseLockedDisk(disk: string, lists: Partial<typeof LISTS> = {}): Promise<void> {
  const { locks, mounts, files } = { ...LISTS, ...lists };
  await using file = await open(disk, 'r');
  const { ino } = await file.stat({ bigint: true });
  const device = deviceIn(await textOf(mounts), await textOf(`${files}/${file.fd}`));
  // layer: locks of a disk
  if (isLocked(await textOf(locks), ino, device))
    throw new MachineError('state-held', `${disk} is locked by a process: a machine runs on it`);
}

async function textOf(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '');
}

/**
 * Numbers of the device that an open file lies on, as the list of locks has them; undefined if
 * the lists of mounts and of the file do not say, or the locks may be those of a file beneath.
 * stat(2) has other numbers on some file systems (btrfs).
 */
function deviceIn(mounts: string, file: string): readonly [major: number, minor: number] | undefined {
  const mount = /^mnt_id:\s+(\d+)$/m.exec(file)?.[1];
  const line = mount === undefined ? null : new RegExp(`^${mount} \\d+ (\\d+):(\\d+) .* - (\\S+) `, 'm').exec(mounts);
  return line === null || line[3] === 'overlay' ? undefined : [Number(line[1]), Number(line[2])];
}

/** Whether the kernel's list names a lock of a file: `… MAJOR:MINOR:INODE START END`. */
function isLocked(locks: string, inode: bigint, device: ReturnType<typeof deviceIn>): boolean {
  const [major, minor] = (device ?? []).map((number) => `0*${number.toString(16)}`);
  const on = device === undefined ? '[0-9a-f]+:[0-9a-f]+' : `${major}:${minor}`;
  return locks.split('\n').some((line) => new RegExp(`\\s${on}:${inode}\\s`).test(line));
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen({ path }, resolve);
  });
}
