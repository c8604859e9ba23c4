/**
 * A run of test files that ends with its counts whatever hangs in it, and that leaves no process.
 */

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { run } from 'node:test';
import type { TestEvent } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FoundProcess, fileOf, killAll, markedProcesses, RUN_MARK } from './marked-processes.ts';
import { report } from './test-report.ts';

/** Test files to run, and for how long at most. */
export interface BoundedRun {
  readonly root: string;
  /** From the root, in the order of starting. */
  readonly files: readonly string[];
  /** Files at once; 0 for all of them in this process, one after another. */
  readonly atOnce: number;
  /** For one test. */
  readonly testMs: number;
  /** For one file. */
  readonly fileMs: number;
  /** For the whole run: what still runs then is ended, and has failed. */
  readonly atMostMs: number;
  /** Starts what runs beside the tests, and gives the names of what failed. */
  readonly beside: () => Promise<readonly string[]>;
  readonly out: NodeJS.WritableStream;
}

/** When a file hangs, and which have. */
interface FileLimits {
  readonly files: readonly string[];
  readonly mark: string;
  readonly fileMs: number;
  readonly late: string[];
}

/** A process that is about to end is gone after so many looks. */
const LOOKS = 600;
const LOOKS_MS = 100;

/**
 * Runs files and reports them; says whether all passed. A process that is left behind fails the
 * run, by the name of the file that started it.
 */
export async function runBounded({ root, files, atOnce, beside, out, ...limits }: BoundedRun): Promise<boolean> {
  const mark = randomUUID();
  process.env[RUN_MARK] = mark;
  const over = new AbortController();
  const bound = Promise.withResolvers<readonly string[]>();
  const timer = setTimeout(() => {
    const minutes = limits.atMostMs / 60_000;
    over.abort(new Error(`the whole run may take ${minutes.toFixed(1)} minutes`));
    killAll(markedProcesses(mark));
    bound.resolve([`what still ran after ${minutes.toFixed(1)} minutes`]);
  }, limits.atMostMs);
  // In one process, the runner's own tests have ended once nothing else is left to wait for.
  if (atOnce === 0) timer.unref();
  const events = run({
    cwd: root,
    files: [...files],
    ...(atOnce === 0
      ? { isolation: 'none' as const }
      : { concurrency: atOnce, execArgv: ['--import', join(import.meta.dirname, 'test-file.ts')] }),
    timeout: limits.testMs,
    signal: over.signal,
  });
  const late: string[] = [];
  const steps = Promise.race([beside(), bound.promise]);
  const ended = async (): Promise<string[]> => {
    const failed = await steps;
    clearTimeout(timer);
    // Programs of this process end with it; files that were ended by force clean nothing up.
    const left = atOnce === 0 ? [] : await leftBehind(mark);
    if (over.signal.aborted) return [...failed, ...late];
    return [
      ...failed,
      ...late,
      ...left.map((each) => `${fileOf(each) ?? 'a step'} left a program running: ${each.words}`),
    ];
  };
  return await report(endingWhatHangs(events, { files, mark, fileMs: limits.fileMs, late }), ended, out);
}

/**
 * Ends files that take too long, with all that they started, and adds them to `late`. The runner
 * itself has limits for tests alone: a file that hangs outside of them would never end.
 */
async function* endingWhatHangs(events: AsyncIterable<TestEvent>, limits: FileLimits): AsyncGenerator<TestEvent> {
  const timers = new Map<string, NodeJS.Timeout>();
  for await (const event of events) {
    const name = event.type === 'test:dequeue' || event.type === 'test:complete' ? event.data.name : '';
    if (limits.files.includes(name)) {
      clearTimeout(timers.get(name));
      if (event.type === 'test:dequeue') timers.set(name, setTimeout(endFile, limits.fileMs, name, limits));
    }
    yield event;
  }
  for (const timer of timers.values()) clearTimeout(timer);
}

function endFile(file: string, { mark, fileMs, late }: FileLimits): void {
  late.push(`${file} took more than ${(fileMs / 60_000).toFixed(1)} minutes`);
  killAll(markedProcesses(mark, file));
}

/** Processes of an ended run that are still there after some looks; they are ended then. */
async function leftBehind(mark: string): Promise<FoundProcess[]> {
  let left = markedProcesses(mark);
  for (let looks = 0; looks < LOOKS && left.length > 0; looks++) {
    await sleep(LOOKS_MS);
    left = markedProcesses(mark);
  }
  killAll(left);
  return left;
}
