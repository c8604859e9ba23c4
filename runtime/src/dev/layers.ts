/**
 * Layers that a developer's machine can put around a worker without a VM and without root. Each is
 * tried before it is reported as held.
 */

import { spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import { VM_LAYERS, type VmLayer } from '@enclaim/attestation/statement';

/** Limits of one worker, if the machine has control groups for its users. */
const LIMITS = { memory: 384 * 1024 * 1024, processorPercent: 100, tasks: 32 } as const;
/** Milliseconds for a program that only shows whether it can be started. */
const HANGS_MS = 20_000;

/**
 * New namespaces of every kind, in which no process outlives the launching program, and that none
 * the process that started it.
 */
const NAMESPACES: readonly string[] = [
  ...['setpriv', '--pdeathsig', 'KILL'],
  'unshare',
  ...['--user', '--map-current-user', '--mount', '--net', '--ipc', '--uts', '--cgroup', '--pid'],
  ...['--fork', '--kill-child=KILL', '--'],
];

/** Names of the namespaces under /proc/PID/ns. */
const KINDS = ['user', 'mnt', 'net', 'ipc', 'uts', 'cgroup', 'pid'] as const;

/** A control group of its own, from the user's own systemd. */
const GROUP: readonly string[] = [
  ...['systemd-run', '--user', '--scope', '--quiet', '--collect'],
  ...['-p', `MemoryMax=${LIMITS.memory}`, '-p', 'MemorySwapMax=0'],
  ...['-p', `CPUQuota=${LIMITS.processorPercent}%`, '-p', `TasksMax=${LIMITS.tasks}`, '--'],
];

/** Prints the limits that the kernel enforces on the process itself. */
const SHOW_LIMITS = 'cd "/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)" && cat memory.max pids.max';

/** The layers around the workers of this machine. */
export interface Layers {
  /** Words to put before a worker's program in order to start it. */
  readonly launcher: readonly string[];
  /** Whether the worker's program is a child of the launched one. */
  readonly forks: boolean;
  readonly held: readonly VmLayer[];
  /** Layers that the boot statement names as missing, and that references must accept by name. */
  readonly missing: readonly VmLayer[];
}

/**
 * Finds out which layers this machine offers. A user and a root directory of its own are never
 * among them, because those take root.
 */
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

/**
 * Whether a process was in other namespaces than this one, of every kind.
 *
 * @param shown the names of its namespaces, one per line
 */
function areNew(shown: string | null): boolean {
  const lines = shown?.trim().split('\n') ?? [];
  return (
    lines.length === KINDS.length && KINDS.every((kind, at) => lines[at] !== readlinkSync(`/proc/self/ns/${kind}`))
  );
}

/** The output of a program; null if it cannot be started or fails. */
function says([program = '', ...words]: readonly string[]): string | null {
  const { status, stdout } = spawnSync(program, words, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: HANGS_MS,
  });
  return status === 0 ? stdout : null;
}
