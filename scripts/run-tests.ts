/** Runs a suite of tests under node:test; its counts are the last lines. `unit` needs nothing, `system` swtpm, `vm` QEMU. */

import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';

/** Globs of each suite. A later suite has the files that an earlier one leaves out. */
const SUITES: Readonly<Record<string, readonly string[]>> = {
  unit: ['{policy-schema,attestation,runtime,guest,image,client,evidence,cli}/test/**/*.test.ts'],
  system: ['test/**/*.test.ts'],
  vm: ['test/**/*.vm.test.ts'],
};

const HANGS_MS = 3_600_000;

const root = join(import.meta.dirname, '..');
const suites = process.argv.slice(2);
const files = new Set<string>();
for (const suite of suites) {
  const globs = SUITES[suite];
  if (globs === undefined) throw new Error(`no suite ${suite}, expected ${Object.keys(SUITES).join(', ')}`);
  for (const file of globSync([...globs], { cwd: root, exclude: ['**/node_modules/**'] })) {
    if (suite === 'vm' || !file.endsWith('.vm.test.ts')) files.add(file);
  }
}
if (files.size === 0) throw new Error(`no tests in ${suites.join(', ')}`);
const { status } = spawnSync(
  process.execPath,
  [
    '--test',
    // One file for each processor: most of a boot under emulation, and of a test of processes, waits for one.
    `--test-concurrency=${availableParallelism()}`,
    // For what hangs: it holds for whole files too, which beside other work take many times as long as they do alone.
    `--test-timeout=${HANGS_MS}`,
    '--test-reporter=./scripts/test-report.ts',
    ...[...files].sort(),
  ],
  {
    cwd: root,
    stdio: 'inherit',
  },
);
process.exitCode = status ?? 1;
