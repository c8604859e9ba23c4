/**
 * Loaded into the process of each test file before the file. The process ends once its tests have,
 * and takes along what it started; a file that leaves a program running fails by its name.
 */

import { appendFileSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { after } from 'node:test';
import { isMainThread } from 'node:worker_threads';
import { FILE_MARK, killAll, processesBelow, TICKS } from './marked-processes.ts';

/** After the last test, this long a file may take to clean up. */
const LINGERS_MS = Number(process.env.ENCLAIM_TEST_LINGERS_MS ?? 300_000);
/** A helper that ends by itself once its input is closed. */
const ENDS_BY_ITSELF = /esbuild --service=/;

// A thread, and a program that is started with the options of this one, are no test files.
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined && process.env[FILE_MARK] === undefined) {
  const file = relative(process.cwd(), process.argv[1] ?? '');
  process.env[FILE_MARK] = file;
  after(() => {
    setTimeout(() => {
      const open = process.getActiveResourcesInfo().join(', ');
      console.error(`${file} does not end after its last test: ${open}`);
      process.exit(1);
    }, LINGERS_MS).unref();
  });
  process.on('exit', () => {
    const left = processesBelow(process.pid);
    killAll(left);
    for (const { words } of left.filter(({ words }) => !ENDS_BY_ITSELF.test(words))) {
      console.error(`${file} left a program running: ${words.slice(0, 200)}`);
      process.exitCode = 1;
    }
    const times = process.env.ENCLAIM_TEST_PROCESSOR;
    if (times !== undefined) appendFileSync(times, `${processorSeconds().toFixed(1)} ${file}\n`);
  });
}

/** Seconds of processor that this process and its children that have ended took. */
function processorSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS;
}
