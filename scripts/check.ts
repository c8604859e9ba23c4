/**
 * The check of every change, in about a minute: types, lint, imports, generated code, words, and
 * the unit tests but for the slow ones (slow-tests.ts), all at once. `--changed` runs the tests of
 * the rooms that changed and of those above them. `scripts/test` decides: it runs everything.
 */

import { parseArgs } from 'node:util';
import { changedPaths, roomsOfChange } from './changed-rooms.ts';
import { COMPILED, runStep } from './run-step.ts';

/** Steps of package.json that take one processor, one after another, beside the tests. */
const STEPS = ['types', 'lint', 'generated', 'rooms', 'words'];
/** Where the runner's list of failures begins; what passed before it is of no use. */
const FAILURES = '✖ failing tests:';

const { values } = parseArgs({ options: { changed: { type: 'boolean', default: false } } });
const rooms = values.changed ? roomsOfChange(changedPaths()) : undefined;
const started = performance.now();
const failed: string[] = [];

await Promise.all([
  unitTests(),
  (async () => {
    for (const step of STEPS) await run(step, ['--run', step]);
  })(),
]);
console.log(`check: ${failed.length === 0 ? 'passed' : `failed: ${failed.join(', ')}`} (${since(started)})`);
if (failed.length > 0) process.exitCode = 1;

async function unitTests(): Promise<void> {
  if (rooms?.length === 0) console.log('unit: no room changed');
  else
    await run('unit', ['scripts/run-tests.ts', '--fast', ...(rooms ?? []).flatMap((room) => ['--room', room]), 'unit']);
}

/** Runs one step and says how it ended; its output is shown where it failed. */
async function run(step: string, words: readonly string[]): Promise<void> {
  const began = performance.now();
  const { passed, output } = await runStep(words, { NODE_COMPILE_CACHE: COMPILED });
  if (passed) {
    console.log(`${step}: passed (${since(began)})${countsOf(output)}`);
    return;
  }
  failed.push(step);
  const at = output.indexOf(FAILURES);
  console.log(`${step}: failed (${since(began)})\n${at === -1 ? output : output.slice(at)}`);
}

/** The numbers of tests that the runner says last, empty for a step that is none. */
function countsOf(output: string): string {
  const of = (what: string): string | undefined => new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(output)?.[1];
  const [passed, skipped] = [of('pass'), of('skipped')];
  return passed === undefined ? '' : `: ${passed} passed, ${skipped} not run`;
}

function since(began: number): string {
  return `${((performance.now() - began) / 1000).toFixed(0)} s`;
}
