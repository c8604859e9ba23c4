/**
 * `node bench/engine-state.ts [bits]`: the bits that compiled code carries from call to call, and
 * the cost of a class of workers.
 *
 * A call reads a secret and leaves it in what the engine knows of the bundle's code. A call of
 * another method, which has read nothing, answers with what it sees of that. Half of the bits are
 * right by chance.
 */

import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Worker } from '../runtime/src/worker/worker.ts';
import { bitsTold, HOT, type Kept, LAZY } from '../test/hostile/engine-state.ts';
import { startWorkers } from '../test/support/worker-process.ts';

const BITS = Number(process.argv[2] ?? 624);
const WORKERS = 8;
const HANDLERS = { code: "exports.handlers = { 'a.B/C': () => ({}) }", methods: ['a.B/C'], metered: false };

console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}, ${BITS} bits`);
for (const state of [HOT, LAZY])
  for (const kept of ['together', 'apart'] satisfies Kept[]) {
    const right = await bitsTold(state, kept, BITS);
    const methods = kept === 'together' ? 'in one worker' : 'in workers of their classes';
    console.log(`${state.name}, ${methods}: ${right} of ${BITS} right in one call`);
  }

const starts: number[] = [];
const processor: number[] = [];
for (let i = 0; i < WORKERS; i++) {
  const began = performance.now();
  const started = await startWorkers()();
  await new Worker(started, 2000).load(HANDLERS);
  starts.push(performance.now() - began);
  processor.push(started.processorTime() / 1000);
}
const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1').trim().split(' ');
const own = children.map((pid) => {
  const [, kib] = /^Private_Dirty: +(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')) ?? [];
  return Number(kib) / 1024;
});
const median = (figures: readonly number[]): string =>
  (figures.toSorted((a, b) => a - b)[WORKERS >> 1] ?? 0).toFixed(0);
console.log(
  `a worker with nothing to do: ${median(own)} MiB of its own, ready after ${median(starts)} ms, ${median(processor)} ms of them processor`,
);
process.exit();
