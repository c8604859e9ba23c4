/**
 * Costs of calls to the server that answers them: processor, garbage, and where the processor goes.
 */

import { writeFile } from 'node:fs/promises';
import { type HeapProfiler, type Profiler, type Runtime, Session } from 'node:inspector/promises';
import { getHeapStatistics } from 'node:v8';

/** Costs of one call. */
export interface Costs {
  /** Microseconds of processor: of the main thread, of the engine and the system, of workers. */
  readonly main: number;
  readonly engine: number;
  readonly worker: number;
  /** KiB that were allocated, of which nothing is left. */
  readonly garbage: number;
}

/** Runs `work`, which returns a number of calls, and says what each cost. */
export async function costsOf(workers: () => number, work: () => Promise<number>): Promise<Costs> {
  const [thread, whole, before] = [process.threadCpuUsage(), process.cpuUsage(), workers()];
  const allocated = getHeapStatistics().total_allocated_bytes;
  const calls = await work();
  const main = sum(process.threadCpuUsage(thread)) / calls;
  return {
    main,
    engine: sum(process.cpuUsage(whole)) / calls - main,
    worker: (workers() - before) / calls,
    garbage: (getHeapStatistics().total_allocated_bytes - allocated) / calls / 1024,
  };
}

function sum({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}

/** Microseconds between two samples of a profile. */
const INTERVAL_US = 250;
/** Bytes between two samples of what is allocated. */
const INTERVAL_BYTES = 2048;
const LARGEST = 10;

/** Runs `work` under the profiler, writes the profile, and returns its largest entries as lines. */
export async function profiled(file: string, work: () => Promise<unknown>): Promise<string[]> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: INTERVAL_US });
  await session.post('Profiler.start');
  await work();
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  await writeFile(file, JSON.stringify(profile));
  return largest(profile);
}

/**
 * Runs `work`, which returns a number of calls, and samples what is allocated, whether or not it is
 * cleared away meanwhile. Writes the samples, and returns the largest entries as lines.
 */
export async function allocated(file: string, work: () => Promise<number>): Promise<string[]> {
  const session = new Session();
  session.connect();
  const sampling = {
    samplingInterval: INTERVAL_BYTES,
    includeObjectsCollectedByMajorGC: true,
    includeObjectsCollectedByMinorGC: true,
  };
  await session.post('HeapProfiler.startSampling', sampling);
  const calls = await work();
  const { profile } = await session.post('HeapProfiler.stopSampling');
  session.disconnect();
  await writeFile(file, JSON.stringify(profile));
  const made = new Map<string, number>();
  const walk = ({ callFrame, selfSize, children }: HeapProfiler.SamplingHeapProfileNode): void => {
    add(made, nameOf(callFrame), selfSize);
    for (const child of children) walk(child);
  };
  walk(profile.head);
  return ranked(made).map(([name, bytes]) => `${(bytes / calls).toFixed(0).padStart(6)} B  ${name}`);
}

/**
 * Entries by the time spent in themselves, as shares of the time that the thread neither idled nor
 * gave to the profiler.
 */
function largest({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): string[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const spent = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const name = names.get(id) ?? '';
    const isOther = name.startsWith('(idle)') || name.includes('node:inspector');
    if (!isOther) add(spent, name, timeDeltas[index] ?? 0);
  }
  const busy = spent.values().reduce((total, time) => total + time, 0);
  return ranked(spent).map(([name, time]) => `${((100 * time) / busy).toFixed(1).padStart(5)} %  ${name}`);
}

function nameOf({ functionName, url, lineNumber }: Runtime.CallFrame): string {
  const place = url === '' ? '' : `${url.split('/').slice(-3).join('/')}:${lineNumber + 1}`;
  return `${functionName || '(anonymous)'} ${place}`;
}

function add(sums: Map<string, number>, name: string, more: number): void {
  sums.set(name, (sums.get(name) ?? 0) + more);
}

function ranked(sums: ReadonlyMap<string, number>): (readonly [string, number])[] {
  return [...sums].sort(([, a], [, b]) => b - a).slice(0, LARGEST);
}
