/**
 * The report of a run: node's own, with additions before its counts. It lists tests that were not
 * run, each with its reason, steps beside the run that failed, and with `ENCLAIM_TEST_TIMES` what
 * took longest. With `CI=true` a run fails that left out what every such machine can run.
 */

import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { spec, type TestEvent } from 'node:test/reporters';
import { mayLack, saidNotRun } from '../test/support/machine-needs.ts';

/** How many of the slowest tests, and files, are named. */
const SLOWEST = 25;
/** The runner's counts, which are the last that it says. */
const COUNT = /^(?:tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/;

/** Questions for the end of all tests. */
export interface Afterwards {
  /** Names of steps beside the tests that failed. */
  readonly ended: () => Promise<readonly string[]>;
  /** Lines on tests that hung: what they waited for. */
  readonly waiting: () => readonly string[];
}

/** Writes the report of a run, and says whether all of it passed. */
export async function report(
  events: AsyncIterable<TestEvent>,
  afterwards: Afterwards,
  out: NodeJS.WritableStream,
): Promise<boolean> {
  const outcome = { passed: false };
  await pipeline(Readable.from(withLists(events, afterwards, outcome)), new spec(), out, { end: false });
  return outcome.passed;
}

async function* withLists(
  events: AsyncIterable<TestEvent>,
  { ended, waiting }: Afterwards,
  outcome: { passed: boolean },
): AsyncGenerator<TestEvent> {
  const counts: TestEvent[] = [];
  const skipped: { what: string; reason: string }[] = [];
  let passed = false;
  const tests = new Map<string, number>();
  const files = new Map<string, number>();
  for await (const event of events) {
    if (event.type === 'test:diagnostic' && COUNT.test(event.data.message)) {
      counts.push(event);
      continue;
    }
    if (event.type === 'test:pass' || event.type === 'test:fail') {
      const { name, file, skip, details } = event.data;
      const what = `${nameOf(file)}: ${name}`;
      if (skip !== undefined) skipped.push({ what, reason: String(skip) });
      else if (details.type !== 'suite') tests.set(what, details.duration_ms);
    }
    if (event.type === 'test:summary') {
      if (event.data.file === undefined) passed = event.data.success;
      else files.set(nameOf(event.data.file), event.data.duration_ms);
    }
    yield event;
  }
  const failed = await ended();
  if (process.env.ENCLAIM_TEST_TIMES === '1') {
    yield* slowest('tests', tests);
    yield* slowest('files', files);
    yield* slowest('files, by processor', processorTimes());
  }
  const notRun = [...saidNotRun(), ...skipped];
  for (const [reason, left] of Map.groupBy(notRun, ({ reason }) => reason)) {
    yield said(`${reason} (${left.length})`);
    for (const { what } of left) yield said(`  ${what}`);
  }
  const wrong = notRun.filter(({ reason }) => !mayLack(reason));
  const isWrong = process.env.CI === 'true' && wrong.length > 0;
  if (isWrong) yield said(`failed: ${wrong.length} that every machine which decides can run were not run`);
  for (const step of failed) yield said(`failed: ${step}`);
  if (waiting().length > 0) yield said('hung for long:');
  for (const line of waiting()) yield said(`  ${line}`);
  outcome.passed = passed && !isWrong && failed.length === 0;
  yield* counts;
}

function* slowest(of: string, took: ReadonlyMap<string, number>): Generator<TestEvent> {
  const sorted = [...took].sort(([, one], [, other]) => other - one);
  yield said(`slowest ${of}, in seconds:`);
  for (const [name, ms] of sorted.slice(0, SLOWEST)) yield said(`${(ms / 1000).toFixed(1).padStart(8)}  ${name}`);
}

/** Seconds of processor by file, which each left at its end, in milliseconds. */
function processorTimes(): Map<string, number> {
  const said = process.env.ENCLAIM_TEST_PROCESSOR;
  if (said === undefined || !existsSync(said)) return new Map();
  const lines = readFileSync(said, 'utf8').trim().split('\n');
  return new Map(lines.map((line) => [line.slice(line.indexOf(' ') + 1), Number.parseFloat(line) * 1000]));
}

function nameOf(file: string | undefined): string {
  return relative(process.cwd(), file ?? '');
}

function said(message: string): TestEvent {
  return { type: 'test:diagnostic', data: { nesting: 0, message, level: 'info' } } as TestEvent;
}
