/**
 * A run of test files that ends with its counts whatever hangs in it, and that leaves no process.
 */

import { randomUUID } from 'node:crypto';
import { join, relative } from 'node:path';
import { run } from 'node:test';
import type { TestEvent } from 'node:test/reporters';
import { setTimeout as sleep } from 'node:timers/promises';
import { type FoundProcess, fileOf, killAll, markedProcesses, RUN_MARK, seenFromOutside } from './marked-processes.ts';
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

/** When a test and a file hang, and which have. */
interface HangLimits {
  readonly root: string;
  readonly files: readonly string[];
  readonly mark: string;
  readonly testMs: number;
  readonly fileMs: number;
  readonly late: string[];
  /** Lines on each test that was about to be ended: the state of its processes. */
  readonly waiting: string[];
}

/** The part of its time after which a test hangs. Its processes are looked at then. */
const HANGS_AFTER = 0.8;

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
  const waiting: string[] = [];
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
  const { testMs, fileMs } = limits;
  const watched = endingWhatHangs(events, { root, files, mark, testMs, fileMs, late, waiting });
  return await report(watched, { ended, waiting: () => waiting }, out);
}

/**
 * Ends files that take too long, with all that they started, and adds them to `late`. The runner
 * itself has limits for tests alone: a file that hangs outside of them would never end. Of a test
 * that is about to be ended, the state of its file's processes is added to `waiting`.
 */
async function* endingWhatHangs(events: AsyncIterable<TestEvent>, limits: HangLimits): AsyncGenerator<TestEvent> {
  const timers = new Map<string, NodeJS.Timeout>();
  for await (const event of events) {
    if (event.type === 'test:dequeue' || event.type === 'test:complete') {
      const { name, file = '', line, column } = event.data;
      const key = limits.files.includes(name) ? name : [file, line, column, name].join(':');
      clearTimeout(timers.get(key));
      timers.delete(key);
      if (event.type === 'test:dequeue') {
        if (key === name) timers.set(key, setTimeout(endFile, limits.fileMs, name, limits));
        else
          timers.set(key, setTimeout(lookAt, limits.testMs * HANGS_AFTER, name, relative(limits.root, file), limits));
      }
    }
    yield event;
  }
  for (const timer of timers.values()) clearTimeout(timer);
}

function lookAt(test: string, file: string, { mark, waiting }: HangLimits): void {
  waiting.push(`${file}: ${test}`, ...markedProcesses(mark, file).map(seenFromOutside));
}

function endFile(file: string, { mark, fileMs, late }: HangLimits): void {
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
