/**
 * Runs suites of tests under node:test; its counts are the last lines. `unit` needs nothing,
 * `system` swtpm, `vm` QEMU, `peers` the tools that scripts/test-engines names. `--fast` leaves out
 * the slow files of slow-tests.ts, and the tests that remain do least (test/support/long.ts).
 * `--room ROOM` keeps to the tests of that room.
 * `--one-process` runs all of it in this process, one file after another.
 * `--beside STEP` runs a step of package.json meanwhile, several of them one after another; what a
 * step says is shown once it has ended, and the run fails if one fails.
 */

import { globSync, mkdtempSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findInputs, groupsHere, inputsOf, readLocks } from '../image/src/index.ts';
import { LONG } from '../test/support/long.ts';
import { sayNotRun } from '../test/support/machine-needs.ts';
import { runBounded } from './bounded-run.ts';
import { longestFirst } from './long-files.ts';
import { COMPILED, runStep } from './run-step.ts';
import { SLOW_TESTS } from './slow-tests.ts';
import { reasonWithout, wantingInputs } from './without-inputs.ts';

/**
 * Globs of each suite, in the order of running: boots find the segments of the image packed, and
 * at the end, where files are short, no processor is idle for long.
 */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  system: ['test/**/*.test.ts'],
  vm: ['test/**/*.vm.test.ts'],
  peers: ['test/peers/*.peer.ts'],
  unit: ['{policy-schema,attestation,runtime,guest,image,client,evidence,cli}/test/**/*.test.ts'],
};

/** For a test that hangs, of the machine's own time, of which the longest takes 400 s. */
const TEST_MS = 900_000;
/** For a file that hangs, between its tests or after them. */
const FILE_MS = 1_500_000;
/**
 * Minutes for the whole run, less than CI waits for it: what still runs then has failed, and the
 * counts are said. `ENCLAIM_TEST_AT_MOST` gives a run beside load more.
 */
const AT_MOST_MINUTES = Number(process.env.ENCLAIM_TEST_AT_MOST ?? (LONG ? 1440 : 80));
/**
 * Files at once beyond one for each processor: tests of processes and connections wait for a third
 * of their time.
 */
const MORE_AT_ONCE = 1;

const root = join(import.meta.dirname, '..');
const { values: asked, positionals: suites } = parseArgs({
  allowPositionals: true,
  options: {
    fast: { type: 'boolean', default: false },
    room: { type: 'string', multiple: true },
    'one-process': { type: 'boolean', default: false },
    beside: { type: 'string', multiple: true, default: [] },
  },
});
if (asked.fast && LONG) throw new Error('--fast and ENCLAIM_TEST_LONG ask for opposite things');
const unknown = suites.find((suite) => !Object.hasOwn(SUITES, suite));
if (unknown !== undefined) throw new Error(`no suite ${unknown}, expected ${Object.keys(SUITES).join(', ')}`);
const files = new Set<string>();
for (const [suite, globs] of Object.entries(SUITES)) {
  if (!suites.includes(suite)) continue;
  for (const file of globSync([...globs], { cwd: root, exclude: ['**/node_modules/**'] }).sort()) {
    if (asked.fast && Object.hasOwn(SLOW_TESTS, file)) continue;
    if (asked.room !== undefined && !asked.room.includes(file.split('/')[0] ?? '')) continue;
    if (suite === 'vm' || !file.endsWith('.vm.test.ts')) files.add(file);
  }
}
if (files.size === 0) throw new Error(`no tests in ${[...suites, ...(asked.room ?? [])].join(', ')}`);
await leaveOut(wantingInputs(files));
// Without a file, the runner would look for some by itself.
if (files.size === 0) throw new Error('nothing is left to run');
process.env.NODE_COMPILE_CACHE ??= COMPILED;
if (asked.fast) process.env.ENCLAIM_TEST_FAST = '1';
if (process.env.ENCLAIM_TEST_TIMES === '1')
  process.env.ENCLAIM_TEST_PROCESSOR ??= join(mkdtempSync(join(tmpdir(), 'enclaim-times-')), 'processor');
const passed = await runBounded({
  root,
  files: longestFirst([...files]),
  atOnce: asked['one-process'] ? 0 : availableParallelism() + MORE_AT_ONCE,
  testMs: TEST_MS,
  fileMs: FILE_MS,
  atMostMs: AT_MOST_MINUTES * 60_000,
  beside: () => runBeside(asked.beside),
  out: process.stdout,
});
// Without this, a pipe that a program left behind holds open would keep this process.
process.exit(passed ? 0 : 1);

/**
 * Runs steps one after another, whether those before them passed or not, and gives the names of
 * those that failed.
 */
async function runBeside(names: readonly string[]): Promise<string[]> {
  const failed: string[] = [];
  for (const name of names) {
    const { passed, output } = await runStep(['--run', name]);
    process.stdout.write(`${output}${name}: ${passed ? 'passed' : 'failed'}\n`);
    if (!passed) failed.push(name);
  }
  return failed;
}

/**
 * Leaves out the tests in `wanting` if a locked input is nowhere. The run goes on with the
 * remaining tests, and says so at its end.
 */
async function leaveOut(wanting: readonly string[]): Promise<void> {
  if (wanting.length === 0) return;
  const used = inputsOf(await readLocks(), await groupsHere());
  const findings = await findInputs(used.map(({ input }) => input));
  const reason = reasonWithout(findings);
  if (reason === null) return;
  for (const { input, found, failures } of findings) {
    const places = failures.map(({ place, reason: why }) => `${place}: ${why}`);
    if (found === null) console.error(`${input.name} ${input.version} is nowhere: ${places.join('; ')}`);
  }
  // The reporter reads it, where scripts/test has not named one already.
  process.env.ENCLAIM_TEST_NOT_RUN ??= join(mkdtempSync(join(tmpdir(), 'enclaim-not-run-')), 'list');
  for (const file of wanting) {
    files.delete(file);
    sayNotRun(file, reason);
  }
}
