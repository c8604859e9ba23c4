/**
 * Costs of calls to the server that answers them: processor, garbage, and where the processor goes.
 */

import { writeFile } from 'node:fs/promises';
import { type Profiler, Session } from 'node:inspector/promises';
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

/** Entries by the time spent in themselves, as shares of the time that was not idle. */
function largest({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): string[] {
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [
      id,
      `${functionName || '(anonymous)'} ${url.split('/').slice(-3).join('/')}${url === '' ? '' : `:${lineNumber + 1}`}`,
    ]),
  );
  const spent = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const name = names.get(id) ?? '';
    if (!name.startsWith('(idle)')) spent.set(name, (spent.get(name) ?? 0) + (timeDeltas[index] ?? 0));
  }
  const busy = spent.values().reduce((total, time) => total + time, 0);
  return [...spent]
    .sort(([, a], [, b]) => b - a)
    .slice(0, LARGEST)
    .map(([name, time]) => `${((100 * time) / busy).toFixed(1).padStart(5)} %  ${name}`);
}
