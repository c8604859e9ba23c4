/** Child processes in namespaces of their own, without any helper program. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { check, libc } from './libc.ts';
import { MOUNT, mount } from './mounts.ts';
import { claimChild, releaseChild } from './orphans.ts';

/** clone(2) flags and names under /proc/thread-self/ns. */
const NAMESPACES = {
  mount: { flag: 0x00020000, file: 'mnt' },
  cgroup: { flag: 0x02000000, file: 'cgroup' },
  uts: { flag: 0x04000000, file: 'uts' },
  ipc: { flag: 0x08000000, file: 'ipc' },
  pid: { flag: 0x20000000, file: 'pid' },
  net: { flag: 0x40000000, file: 'net' },
} as const;

/** A namespace that a child may get for itself. A new `net` holds only a `lo` that is down. */
export type Namespace = keyof typeof NAMESPACES;

/** A file or folder of the host shown in a confined root, read-only. */
export interface RootEntry {
  readonly from: string;
  /** Absolute path in the new root; by default `from`. */
  readonly to?: string;
}

/** Options of {@link spawnConfined}. */
export interface ConfinedOptions {
  /** Program (absolute path, as seen in `root`) and arguments. */
  readonly argv: readonly [string, ...string[]];
  readonly uid: number;
  readonly gid: number;
  readonly namespaces?: readonly Namespace[];
  /**
   * With the `mount` namespace: the only entries of the child's root. Absent: the parent's root.
   */
  readonly root?: readonly RootEntry[];
  /**
   * File descriptors of this process, or null for /dev/null. The index is the descriptor in the
   * child, which inherits nothing else.
   */
  readonly fds: readonly (number | null)[];
  /** The whole environment; by default none. */
  readonly env?: Readonly<Record<string, string>>;
  /** A cgroup folder (absolute) that the child joins. */
  readonly cgroup?: string;
}

/** How a child ended. */
export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child. */
export interface ConfinedChild {
  readonly pid: number;
  /** Settles when the child has ended and was reaped. */
  readonly exit: Promise<ChildExit>;
  kill(signal?: NodeJS.Signals): void;
}

const JAIL = '/run/jail';

/**
 * Starts a child with its own uid, gid (no supplementary groups) and namespaces.
 *
 * fork copies the namespaces of the thread that calls it, and spawn forks on the calling thread.
 * Therefore this thread enters new namespaces, spawns, and goes back. Nothing else runs in between,
 * because all of it is synchronous.
 *
 * @throws LinuxError, or the error of the spawn; this thread is back in its own namespaces then.
 */
export async function spawnConfined(options: ConfinedOptions): Promise<ConfinedChild> {
  const child = forkInside(options);
  if (child.pid !== undefined) claimChild(child.pid); // before any SIGCHLD is handled
  const exit = new Promise<ChildExit>((resolve) => {
    child.once('exit', (code, signal) => {
      releaseChild(Number(child.pid));
      resolve({ code, signal });
    });
  });
  await once(child, 'spawn'); // or throws what 'error' says
  const pid = Number(child.pid);
  if (options.cgroup !== undefined) joinCgroup(child, options.cgroup);
  return { pid, exit, kill: (signal = 'SIGKILL') => void child.kill(signal) };
}

function forkInside(options: ConfinedOptions): ChildProcess {
  const { namespaces = [], root } = options;
  if (root !== undefined && !namespaces.includes('mount')) throw new TypeError('a root needs the mount namespace');
  const nothing = openSync('/dev/null', 'r+'); // opened here: the child's root may have none
  try {
    return inNamespaces(namespaces, () => {
      if (namespaces.includes('mount')) mount('/', { flags: MOUNT.recursive | MOUNT.private });
      if (root !== undefined) enterRoot(root);
      return start(options, nothing);
    });
  } finally {
    closeSync(nothing);
  }
}

/**
 * Runs `action` with this thread in new namespaces. Afterwards the thread is back in the old ones,
 * with their root and working folder.
 */
function inNamespaces<T>(names: readonly Namespace[], action: () => T): T {
  if (names.length === 0) return action();
  const homes = names.map((name) => ({
    ...NAMESPACES[name],
    fd: openSync(`/proc/thread-self/ns/${NAMESPACES[name].file}`, 'r'),
  }));
  const [rootFd, folderFd] = [openSync('/', 'r'), openSync('.', 'r')];
  try {
    check('unshare', libc().unshare(homes.reduce((flags, { flag }) => flags | flag, 0)));
    return action();
  } finally {
    for (const { fd, file, flag } of homes) check(`setns ${file}`, libc().setns(fd, flag));
    check('fchdir', libc().fchdir(rootFd));
    check('chroot', libc().chroot('.'));
    check('fchdir', libc().fchdir(folderFd));
    for (const fd of [...homes.map((home) => home.fd), rootFd, folderFd]) closeSync(fd);
  }
}

function start({ argv: [program, ...args], uid, gid, fds, env = {} }: ConfinedOptions, nothing: number): ChildProcess {
  return spawn(program, args, { cwd: '/', env, uid, gid, stdio: fds.map((fd) => fd ?? nothing) });
}

function joinCgroup(child: ChildProcess, cgroup: string): void {
  try {
    writeFileSync(join(cgroup, 'cgroup.procs'), String(child.pid));
  } catch (error) {
    child.kill('SIGKILL'); // never left running without its limits
    throw error;
  }
}

/**
 * Makes a root of read-only binds and enters it.
 *
 * pivot_root refuses an initramfs as the old root, so the new root is moved over `/` and entered by
 * chroot. A child without CAP_SYS_CHROOT and open folders cannot reach what is below it.
 */
function enterRoot(entries: readonly RootEntry[]): void {
  mkdirSync(JAIL, { recursive: true });
  mount(JAIL, { type: 'tmpfs', flags: MOUNT.noSuid | MOUNT.noDev, data: 'mode=0755,size=64k' });
  for (const { from, to = from } of entries) {
    const target = join(JAIL, to);
    if (statSync(from).isDirectory()) mkdirSync(target, { recursive: true });
    else {
      mkdirSync(join(target, '..'), { recursive: true });
      writeFileSync(target, '');
    }
    mount(target, { source: from, flags: MOUNT.bind });
    mount(target, { flags: MOUNT.bind | MOUNT.remount | MOUNT.readOnly | MOUNT.noSuid | MOUNT.noDev });
  }
  mount(JAIL, { flags: MOUNT.remount | MOUNT.readOnly | MOUNT.noSuid | MOUNT.noDev | MOUNT.noExec });
  check('chdir', libc().chdir(JAIL));
  mount('/', { source: '.', flags: MOUNT.move });
  check('chroot', libc().chroot('.'));
}
