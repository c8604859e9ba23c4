/**
 * Readings of this machine by the kernel: pressure (PSI, Documentation/accounting/psi.rst) and
 * temperature.
 */

import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import { join } from 'node:path';

/** Percent of the last ten seconds in which some task waited for memory, or for a processor. */
export interface Pressure {
  readonly memory: number;
  readonly cpu: number;
}

/** One reading of the machine. */
export interface Readings {
  readonly pressure: Pressure;
  /** Degrees Celsius of the warmest sensor, or null if the platform shows none. */
  readonly warmest: number | null;
}

/** Folders of pressure, and of sensors; null if temperature is not asked for. */
export interface KernelFolders {
  readonly pressure: string;
  readonly thermal: string | null;
}

/**
 * The kernel's folders. Worker groups need no file of their own: "some" of the whole machine
 * includes every group.
 */
export const KERNEL: KernelFolders = { pressure: '/proc/pressure', thermal: '/sys/class/thermal' };

const SOME = /^some avg10=(\d{1,3}\.\d\d) avg60=\d{1,3}\.\d\d avg300=\d{1,3}\.\d\d total=\d{1,20}\n/;
/** Thousandths of a degree. */
const TEMPERATURE = /^(-?\d{1,7})\n$/;
const MAX_ZONES = 64;
const MAX_FILE_CHARS = 512;

/**
 * Reads the machine.
 *
 * @throws Error if the kernel shows no pressure, or if a sensor exists and cannot be read
 */
export function readMachine({ pressure, thermal }: KernelFolders = KERNEL): Readings {
  const degrees = thermal === null ? [] : zones(thermal).map((zone) => temperature(join(thermal, zone, 'temp')));
  return {
    pressure: { memory: stalled(join(pressure, 'memory')), cpu: stalled(join(pressure, 'cpu')) },
    warmest: degrees.length === 0 ? null : Math.max(...degrees),
  };
}

function temperature(path: string): number {
  return Number(matched(path, TEMPERATURE)) / 1000;
}

function stalled(path: string): number {
  return Number(matched(path, SOME));
}

/**
 * Sensors of a folder.
 *
 * **Trust**: the host can invent sensors, so their names and number are not believed.
 */
function zones(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const found = names.filter((name) => /^thermal_zone\d{1,3}$/.test(name));
  if (found.length > MAX_ZONES) throw new RangeError(`${found.length} sensors, at most ${MAX_ZONES}`);
  return found;
}

/** The first group of a small file that has the expected form. */
function matched(path: string, form: RegExp): string {
  const [, value] = form.exec(readSmall(path)) ?? [];
  if (value === undefined) throw new SyntaxError(`${path} does not have the form ${form.source}`);
  return value;
}

/**
 * Microseconds of processor that a control group has used.
 *
 * @throws Error if there is no such group
 */
export function groupProcessorTime(folder: string): number {
  return Number(matched(join(folder, 'cpu.stat'), /^usage_usec (\d{1,15})\n/));
}

/**
 * Microseconds of processor that a process has used (proc_pid_stat(5), in ticks of a hundredth of a
 * second).
 *
 * @throws Error if there is no such process
 */
export function processProcessorTime(pid: number): number {
  const form = /\) [A-Z](?: -?\d+){10} (\d+ \d+) /;
  const [user = 0, system = 0] = matched(`/proc/${pid}/stat`, form).split(' ').map(Number);
  return (user + system) * 10_000;
}

/** A kernel file, read up to a limit. */
function readSmall(path: string, longest: number = MAX_FILE_CHARS): string {
  const buffer = Buffer.alloc(longest);
  const fd = openSync(path, 'r');
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, longest, 0));
  } finally {
    closeSync(fd);
  }
}
