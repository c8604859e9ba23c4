/** Limits that the supervisor takes on for good, and that every child inherits. */

import { applySettings } from './hardening.ts';
import { check, libc } from './libc.ts';

const RLIMIT_CORE = 4;
const RLIMIT_NOFILE = 7;
const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const OPEN_FILES = 65536n;

/**
 * Allows no core dumps, no tracing and no privilege gained by exec, ever, and empties the
 * capability bounding set. A child that changes its uid has no way back. The calling process keeps
 * the capabilities it has. The kernel gets the settings of this system.
 *
 * @throws LinuxError, or the file system's error if the kernel lacks a setting.
 */
export function restrictForGood(): void {
  setLimit('core', RLIMIT_CORE, 0n);
  setLimit('nofile', RLIMIT_NOFILE, OPEN_FILES);
  prctl('dumpable', PR_SET_DUMPABLE, 0n);
  for (let capability = 0n; libc().prctl(PR_CAPBSET_READ, capability, 0n, 0n, 0n) >= 0; capability++) {
    prctl('bounding set', PR_CAPBSET_DROP, capability);
  }
  prctl('no_new_privs', PR_SET_NO_NEW_PRIVS, 1n);
  applySettings();
}

function prctl(what: string, option: number, value: bigint): void {
  check(`prctl ${what}`, libc().prctl(option, value, 0n, 0n, 0n));
}

function setLimit(what: string, resource: number, value: bigint): void {
  const limit = Buffer.alloc(16);
  limit.writeBigUInt64LE(value, 0);
  limit.writeBigUInt64LE(value, 8);
  check(`setrlimit ${what}`, libc().setrlimit(resource, limit));
}
