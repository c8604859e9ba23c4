/** Layers that a developer's machine can put around a worker without a VM and without root: each is tried before it is said to hold. */

import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { VM_LAYERS, type VmLayer } from '@enclaim/attestation/statement';

/** What one worker may have, where the machine has control groups for its users. */
const LIMITS = { memory: 384 * 1024 * 1024, processorPercent: 100, tasks: 32 } as const;
/** Of a program that only tells whether it can be started. */
const HANGS_MS = 20_000;

/** New namespaces of every kind, and nothing that outlives the program that asked for them. */
const NAMESPACES: readonly string[] = [
  'unshare',
  ...['--user', '--map-current-user', '--mount', '--net', '--ipc', '--uts', '--cgroup', '--pid'],
  ...['--fork', '--kill-child=KILL', '--'],
];

/** Their names under /proc/PID/ns. */
const KINDS = ['user', 'mnt', 'net', 'ipc', 'uts', 'cgroup', 'pid'] as const;

/** A group of its own, by the user's own systemd. */
const GROUP: readonly string[] = [
  ...['systemd-run', '--user', '--scope', '--quiet', '--collect'],
  ...['-p', `MemoryMax=${LIMITS.memory}`, '-p', 'MemorySwapMax=0'],
  ...['-p', `CPUQuota=${LIMITS.processorPercent}%`, '-p', `TasksMax=${LIMITS.tasks}`, '--'],
];

/** Says the limits that the kernel holds the asking process to. */
const SHOW_LIMITS = 'cd "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)" && cat memory.max pids.max';

/** What is around the workers of this machine. */
export interface Layers {
  /** Words before a worker's program, by which it is started. */
  readonly launcher: readonly string[];
  /** Whether the program is a child of the one that is started. */
  readonly forks: boolean;
  readonly held: readonly VmLayer[];
  /** What the boot statement names as missing, and references must accept by name. */
  readonly missing: readonly VmLayer[];
}

/** Finds out what this machine offers. A user and a root of their own it never does: those take root. */
export function confinementHere(): Layers {
  const namespaces = areNew(says([...NAMESPACES, 'readlink', ...KINDS.map((kind) => `/proc/self/ns/${kind}`)]));
  const cgroup = says([...GROUP, 'sh', '-c', SHOW_LIMITS]) === `${LIMITS.memory}\n${LIMITS.tasks}\n`;
  const held = VM_LAYERS.filter((layer) => (layer === 'namespaces' && namespaces) || (layer === 'cgroup' && cgroup));
  return {
    launcher: [...(cgroup ? GROUP : []), ...(namespaces ? NAMESPACES : [])],
    forks: namespaces,
    held,
    missing: VM_LAYERS.filter((layer) => !held.includes(layer)),
  };
}

/** Whether a process was in other namespaces than this one, of every kind. @param shown their names, a line each */
function areNew(shown: string | null): boolean {
  const lines = shown?.trim().split('\n') ?? [];
  return (
    lines.length === KINDS.length && KINDS.every((kind, at) => lines[at] !== readlinkSync(`/proc/self/ns/${kind}`))
  );
}

/** What a program writes, or null where it cannot be started or fails. */
function says([program = '', ...words]: readonly string[]): string | null {
  const { status, stdout } = spawnSync(program, words, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: HANGS_MS,
  });
  return status === 0 ? stdout : null;
}
