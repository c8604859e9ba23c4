/**
 * Runs test files as scripts/run-tests.ts does, in a process of their own: `bounded.ts ROOT HANGS_MS AT_MOST_MS AT_ONCE FILE ...`;
 * with 0 at once, all of them in that process.
 */

import { runBounded } from '../../scripts/bounded-run.ts';

const [, , root = '', hangsMs, atMostMs, atOnce, ...files] = process.argv;
const passed = await runBounded({
  root,
  files,
  atOnce: Number(atOnce),
  testMs: Number(hangsMs),
  fileMs: Number(hangsMs),
  atMostMs: Number(atMostMs),
  beside: async () => [],
  out: process.stdout,
});
process.exit(passed ? 0 : 1);
