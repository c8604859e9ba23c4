/**
 * Runs suites of tests under node:test; its counts are the last lines. `unit` needs nothing,
 * `system` swtpm, `vm` QEMU. `--fast` leaves out the slow files of slow-tests.ts, and the
 * tests that remain do least (test/support/long.ts). `--room ROOM` keeps to the tests of that room.
 */

import { spawnSync } from 'node:child_process';
import { globSync, mkdtempSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findInputs, groupsHere, inputsOf, readLocks } from '../image/src/index.ts';
import { LONG } from '../test/support/long.ts';
import { sayNotRun } from '../test/support/machine-needs.ts';
import { SLOW_TESTS } from './slow-tests.ts';
import { reasonWithout, wantingInputs } from './without-inputs.ts';

/** Globs of each suite. A later suite has the files that an earlier one leaves out. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  unit: ['{policy-schema,attestation,runtime,guest,image,client,evidence,cli}/test/**/*.test.ts'],
  system: ['test/**/*.test.ts'],
  vm: ['test/**/*.vm.test.ts'],
};

const HANGS_MS = 3_600_000;

const root = join(import.meta.dirname, '..');
const { values: asked, positionals: suites } = parseArgs({
  allowPositionals: true,
  options: { fast: { type: 'boolean', default: false }, room: { type: 'string', multiple: true } },
});
if (asked.fast && LONG) throw new Error('--fast and ENCLAIM_TEST_LONG ask for opposite things');
const files = new Set<string>();
for (const suite of suites) {
  const globs = SUITES[suite];
  if (globs === undefined) throw new Error(`no suite ${suite}, expected ${Object.keys(SUITES).join(', ')}`);
  for (const file of globSync([...globs], { cwd: root, exclude: ['**/node_modules/**'] })) {
    if (asked.fast && Object.hasOwn(SLOW_TESTS, file)) continue;
    if (asked.room !== undefined && !asked.room.includes(file.split('/')[0] ?? '')) continue;
    if (suite === 'vm' || !file.endsWith('.vm.test.ts')) files.add(file);
  }
}
if (files.size === 0) throw new Error(`no tests in ${[...suites, ...(asked.room ?? [])].join(', ')}`);
await leaveOut(wantingInputs(files));
// Without a file, the runner would look for some by itself.
if (files.size === 0) throw new Error('nothing is left to run');
const { status } = spawnSync(
  process.execPath,
  [
    '--test',
    // One file for each processor: most of a boot under emulation, and of a test of processes,
    // waits for one.
    `--test-concurrency=${availableParallelism()}`,
    // For tests that hang. The limit holds for whole files too, which beside other work take many
    // times as long as they do alone.
    `--test-timeout=${HANGS_MS}`,
    '--test-reporter=./scripts/test-report.ts',
    ...[...files].sort(),
  ],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...(asked.fast && { ENCLAIM_TEST_FAST: '1' }) },
  },
);
process.exitCode = status ?? 1;

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
