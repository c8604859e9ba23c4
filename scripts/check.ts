/**
 * The check of every change, in about a minute: types, lint, imports, generated code, words, and
 * the unit tests but for the slow ones (slow-tests.ts), all at once. `--changed` runs the tests of
 * the rooms that changed and of those above them. `scripts/test` decides: it runs everything.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { changedPaths, roomsOfChange } from './changed-rooms.ts';
import { root } from './imports.ts';
import { MAY_IMPORT } from './room-table.ts';
import { COMPILED, runStep } from './run-step.ts';

/** Steps of package.json that take one processor, one after another, beside the tests. */
const STEPS = ['types', 'lint', 'generated', 'rooms', 'words'];
/**
 * Groups of rooms whose tests run in one process here, of about the same length. Each room leaves
 * the process as it found it, which `scripts/test` does not rely on: it gives every file a process.
 *
 * **Cost**: a process for each of their files would start for as long as its tests run.
 */
const SHARING: readonly (readonly string[])[] = [
  ['policy-schema', 'attestation', 'guest'],
  ['image', 'client', 'cli'],
];
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

/** The tests of the rooms in question, those of rooms that share a process in one. */
async function unitTests(): Promise<void> {
  const wanted = (rooms ?? Object.keys(MAY_IMPORT)).filter((room) => existsSync(join(root, room, 'test')));
  if (wanted.length === 0) console.log('unit: no room with tests changed');
  const shared = SHARING.map((group) => wanted.filter((room) => group.includes(room)));
  const own = wanted.filter((room) => !SHARING.flat().includes(room));
  await Promise.all([...shared.map((group) => unit(['--one-process'], group)), unit([], own)]);
}

async function unit(words: readonly string[], of: readonly string[]): Promise<void> {
  if (of.length === 0) return;
  await run(`unit of ${of.join(', ')}`, [
    'scripts/run-tests.ts',
    '--fast',
    ...words,
    ...of.flatMap((room) => ['--room', room]),
    'unit',
  ]);
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
