/** Control groups (cgroup v2): how much memory, processor and how many tasks a child may have. */
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
const CONTROLLERS = ['cpu', 'memory', 'pids'] as const;

/** Limits of a group, all of them hard. */
export interface CgroupLimits {
  /** Bytes, with nothing swapped. */
  readonly memory: number;
  /** Percent of one processor. */
  readonly cpu: number;
  /** Processes and threads. */
  readonly tasks: number;
}

const PERIOD = 100_000; // microseconds

/** Where the group of that name is, or will be. `a/b` is a group within `a`. */
export function cgroupFolder(name: string): string {
  return join(ROOT, name);
}

/**
 * Makes a group and returns its folder. Once it needs more memory, it is killed as a whole.
 *
 * @throws the error of the file system if the kernel lacks a controller, because a child is not
 *   started without its limits.
 */
export function makeCgroup(name: string, limits: CgroupLimits): string {
  const folder = makeLimited(name, limits);
  writeFileSync(join(folder, 'memory.oom.group'), '1');
  return folder;
}

/**
 * Makes a group for groups, with limits for all of them. If they need more memory, the largest is
 * killed.
 * @throws as {@link makeCgroup}
 */
export function makeOuterCgroup(name: string, limits: CgroupLimits): void {
  makeLimited(name, limits);
}

function makeLimited(name: string, { memory, cpu, tasks }: CgroupLimits): string {
  const folder = cgroupFolder(name);
  const control = join(dirname(folder), 'cgroup.subtree_control');
  const enabled = readFileSync(control, 'latin1').split(/\s+/);
  const wanting = CONTROLLERS.filter((controller) => !enabled.includes(controller));
  if (wanting.length > 0) writeFileSync(control, wanting.map((controller) => `+${controller}`).join(' '));
  mkdirSync(folder);
  const settings: readonly (readonly [string, string])[] = [
    ['memory.max', String(memory)],
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
