/** Runs test files as scripts/run-tests.ts does, in a process of their own: `bounded.ts ROOT AT_MOST_MS FILE ...`. */

import { runBounded } from '../../scripts/bounded-run.ts';
import { HANGS_MS } from './eventually.ts';

const [, , root = '', atMostMs, ...files] = process.argv;
const passed = await runBounded({
  root,
  files,
  atOnce: 2,
  hangsMs: HANGS_MS,
  atMostMs: Number(atMostMs),
  beside: async () => [],
  out: process.stdout,
});
process.exit(passed ? 0 : 1);
