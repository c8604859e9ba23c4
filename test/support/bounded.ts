/** Runs test files as scripts/run-tests.ts does, in a process of their own: `bounded.ts ROOT HANGS_MS AT_MOST_MS FILE ...`. */

import { runBounded } from '../../scripts/bounded-run.ts';

const [, , root = '', hangsMs, atMostMs, ...files] = process.argv;
const passed = await runBounded({
  root,
  files,
  atOnce: 2,
  testMs: Number(hangsMs),
  fileMs: Number(hangsMs),
  atMostMs: Number(atMostMs),
  beside: async () => [],
  out: process.stdout,
});
process.exit(passed ? 0 : 1);
