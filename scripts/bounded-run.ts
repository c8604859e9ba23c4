/**
 * A run of test files that ends with its counts whatever hangs in it, and that leaves no process.
 */

import { randomUUID } from 'node:crypto';
import { availableParallelism, loadavg } from 'node:os';
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
  /** For one test, of this machine's own time (`HangClock`). */
  readonly testMs: number;
  /** For one file, likewise. */
  readonly fileMs: number;
  /** For the whole run, by the clock: what still runs then is ended, and has failed. */
  readonly atMostMs: number;
  /** Starts what runs beside the tests, and gives the names of what failed. */
  readonly beside: () => Promise<readonly string[]>;
  readonly out: NodeJS.WritableStream;
}

/** Limits of tests and files, and notes on those that met theirs. */
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
const TICK_MS = 500;

/**
 * A clock of the time that a machine has for one run: it goes slower as more wants to run than
 * there are processors. By the wall clock, a busy machine alone would make a test hang.
 */
class HangClock {
  readonly #due = new Map<string, { left: number; readonly act: () => void }>();
  readonly #timer = setInterval(() => this.#tick(), TICK_MS).unref();
  #ticked = performance.now();

  /** Acts once so many milliseconds have passed, in place of what `key` stood for. */
  set(key: string, milliseconds: number, act: () => void): void {
    this.#due.set(key, { left: milliseconds, act });
  }

  clear(key: string): void {
    this.#due.delete(key);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = performance.now();
    const [load = 0] = loadavg();
    const passed = ((now - this.#ticked) * availableParallelism()) / Math.max(availableParallelism(), load);
    this.#ticked = now;
    for (const [key, due] of this.#due) {
      due.left -= passed;
      if (due.left > 0) continue;
      this.#due.delete(key);
      due.act();
    }
  }
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
    // Node's own limit goes by the wall clock.
    ...(atOnce === 0 && { timeout: limits.testMs }),
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
 * Ends files that take too long, or a test of theirs, with all that they started, and adds them to
 * `late`. Of a test that is about to be ended, the state of its file's processes is added to
 * `waiting`.
 */
async function* endingWhatHangs(events: AsyncIterable<TestEvent>, limits: HangLimits): AsyncGenerator<TestEvent> {
  const { root, files, mark, testMs, fileMs, late, waiting } = limits;
  const clock = new HangClock();
  const end = (file: string, what: string, milliseconds: number): void => {
    late.push(`${what} took more than ${(milliseconds / 60_000).toFixed(1)} minutes`);
    killAll(markedProcesses(mark, file));
  };
  const follow = (event: TestEvent): void => {
    if (event.type !== 'test:dequeue' && event.type !== 'test:complete') return;
    const { name, line, column } = event.data;
    const isFile = files.includes(name);
    const file = isFile ? name : relative(root, event.data.file ?? '');
    const key = isFile ? file : [file, line, column, name].join(':');
    clock.clear(key);
    clock.clear(`${key}, ended`);
    if (event.type === 'test:complete' || event.data.type === 'suite') return;
    if (isFile) {
      clock.set(key, fileMs, () => end(file, file, fileMs));
      return;
    }
    const look = (): void => {
      waiting.push(`${file}: ${name}`, ...markedProcesses(mark, file).map(seenFromOutside));
    };
    clock.set(key, testMs * HANGS_AFTER, look);
    clock.set(`${key}, ended`, testMs, () => end(file, `${file}: ${name}`, testMs));
  };
  for await (const event of events) {
    follow(event);
    yield event;
  }
  clock.stop();
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
