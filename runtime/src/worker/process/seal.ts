/** Sealing: a worker gives up rights of its own before it has seen a byte of the handlers. */

import { restrictSystemCalls, WORKER_FILTER } from './seccomp.ts';

/** Scopes of Node's permission model that a worker may have been started with, to seal itself. */
const GIVEN_UP = ['ffi', 'fs.read'] as const;

/**
 * Gives up Node's permissions and the kernel's calls, and proves the former.
 *
 * @throws Error if a permission is left; the process must end then
 */
export function seal(): void {
  const { permission } = process;
  if (permission === undefined) throw new Error('the permission model is off');
  // Handlers have one time zone, independent of the system's files.
  process.env.TZ = 'UTC';
  restrictSystemCalls(WORKER_FILTER);
  for (const scope of GIVEN_UP) permission.drop(scope);
  const left = [...GIVEN_UP, 'fs.write', 'child', 'worker', 'net', 'addon', 'wasi', 'inspector'].filter((scope) =>
    permission.has(scope),
  );
  if (left.length > 0) throw new Error(`permissions are left: ${left.join(', ')}`);
}
