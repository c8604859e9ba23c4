/** Zombies that PID 1 inherits: reaped without taking a child's exit status away from libuv. */
import { readFileSync } from 'node:fs';
import { libc } from './libc.ts';

const WNOHANG = 1;

const ours = new Set<number>();

/** Marks `pid` as a child that Node waits for itself. */
export function claimChild(pid: number): void {
  ours.add(pid);
}

/** Ends the claim of {@link claimChild}, once Node has reported the child's exit. */
export function releaseChild(pid: number): void {
  ours.delete(pid);
}

/**
 * Reaps orphans from now on, at every SIGCHLD.
 *
 * Node waits for each of its own children by pid, so an inherited one would stay a zombie for ever.
 * Waiting for "any child" would steal the exits that Node is about to report. Therefore only
 * children that were not claimed are waited for, by pid.
 */
export function reapOrphans(): void {
  process.on('SIGCHLD', reapOnce);
  reapOnce();
}

/** Waits for every exited child that is not claimed; the pids that were reaped. */
export function reapOnce(): readonly number[] {
  const status = Buffer.alloc(4);
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1')
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return children.filter((pid) => !ours.has(pid) && libc().waitpid(pid, status, WNOHANG) === pid);
}
