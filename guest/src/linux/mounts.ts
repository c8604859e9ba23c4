/** Mounts: the file systems that PID 1 finds missing, and the primitives for a confined root. */
import { mkdirSync } from 'node:fs';
import { LinuxError } from './error.ts';
import { check, libc } from './libc.ts';

/** mount(2) flags by name. */
export const MOUNT = {
  readOnly: 0x1,
  noSuid: 0x2,
  noDev: 0x4,
  noExec: 0x8,
  remount: 0x20,
  bind: 0x1000,
  move: 0x2000,
  recursive: 0x4000,
  private: 0x40000,
} as const;

const MNT_DETACH = 2;
const { noSuid, noDev, noExec } = MOUNT;
const inert = noSuid | noDev | noExec;

/** In order: a later one may live inside an earlier one. */
const BASE: readonly { type: string; target: string; flags: number; data: string }[] = [
  { type: 'proc', target: '/proc', flags: inert, data: 'hidepid=invisible' },
  { type: 'sysfs', target: '/sys', flags: inert, data: '' },
  { type: 'devtmpfs', target: '/dev', flags: noSuid | noExec, data: 'mode=0755' },
  { type: 'tmpfs', target: '/run', flags: noSuid | noDev | noExec, data: 'mode=0755,size=16m' },
  { type: 'tmpfs', target: '/tmp', flags: inert, data: 'mode=1777,size=16m' },
  { type: 'cgroup2', target: '/sys/fs/cgroup', flags: inert, data: '' },
  { type: 'securityfs', target: '/sys/kernel/security', flags: inert, data: '' },
];

/** Options of {@link mount}. */
export interface MountOptions {
  /** The source of the mount: a device or, for a bind, a folder or file; by default the type. */
  readonly source?: string;
  /** File system type; absent for a bind, a move or a remount. */
  readonly type?: string;
  /** Values of {@link MOUNT}, or-ed. */
  readonly flags?: number;
  /** The file system's own options. */
  readonly data?: string;
}

/**
 * Mounts something on `target`.
 *
 * @throws LinuxError.
 */
export function mount(target: string, { type = '', source = type, flags = 0, data = '' }: MountOptions): void {
  check(`mount ${target}`, libc().mount(source || 'none', target, type, BigInt(flags), data));
}

/**
 * Detaches the mount on `target`.
 *
 * @throws LinuxError.
 */
export function unmount(target: string): void {
  check(`umount ${target}`, libc().umount2(target, MNT_DETACH));
}

/**
 * Mounts /proc, /sys, /dev (devtmpfs), /run, /tmp, cgroup2 and securityfs. One that the kernel
 * mounted already (devtmpfs may be) is left as it is. The root below them, which is the image, is
 * read-only from then on.
 *
 * **Trust**: the kernel makes the root a folder that every user may write to. A program that looks
 * for a file there (`/etc/ld.so.preload`) looks for it as root.
 *
 * @throws LinuxError.
 */
export function mountBase(): void {
  for (const { type, target, flags, data } of BASE) {
    try {
      if (!target.startsWith('/sys/')) mkdirSync(target, { recursive: true });
      mount(target, { type, flags, data });
    } catch (error) {
      if (!(error instanceof LinuxError && error.code === 'EBUSY')) throw error;
    }
  }
  mount('/', { flags: MOUNT.remount | MOUNT.readOnly });
}

/**
 * Mounts configfs, where confidential VMs ask for reports; its module and `tsm` must be loaded.
 *
 * @throws LinuxError.
 */
export function mountConfigfs(): void {
  mount('/sys/kernel/config', { type: 'configfs', flags: inert });
}
