/** Control groups (cgroup v2): how much memory, processor and how many tasks a child may have. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
const CONTROLLERS = ['cpu', 'memory', 'pids'] as const;

/** Limits of a group, all of them hard. */
export interface CgroupLimits {
  /** Bytes, with nothing swapped. A group that needs more is killed as a whole. */
  readonly memory: number;
  /** Percent of one processor. */
  readonly cpu: number;
  /** Processes and threads. */
  readonly tasks: number;
}

const PERIOD = 100_000; // microseconds

/** Where the group of that name is, or will be. */
export function cgroupFolder(name: string): string {
  return join(ROOT, name);
}

/**
 * Makes a group below the root and returns its folder.
 *
 * @throws the error of the file system where the kernel lacks a controller: a child is not started without its limits.
 */
export function makeCgroup(name: string, { memory, cpu, tasks }: CgroupLimits): string {
  const enabled = readFileSync(join(ROOT, 'cgroup.subtree_control'), 'latin1').split(/\s+/);
  const wanting = CONTROLLERS.filter((controller) => !enabled.includes(controller));
  if (wanting.length > 0) {
    writeFileSync(join(ROOT, 'cgroup.subtree_control'), wanting.map((controller) => `+${controller}`).join(' '));
  }
  const folder = cgroupFolder(name);
  mkdirSync(folder);
  const settings: readonly (readonly [string, string])[] = [
    ['memory.max', String(memory)],
    ['memory.oom.group', '1'],
    ['cpu.max', `${(PERIOD * cpu) / 100} ${PERIOD}`],
    ['pids.max', String(tasks)],
  ];
  for (const [file, value] of settings) writeFileSync(join(folder, file), value);
  return folder;
}

/** Removes an empty group. */
export function removeCgroup(folder: string): void {
  rmdirSync(folder);
}
