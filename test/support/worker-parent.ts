/**
 * `worker-parent.ts KIND` starts a worker whose handlers spin as they load, prints the ids of the processes that it is made
 * of, and waits to be killed. KIND is `tests` or `dev`.
 */

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { confinementHere, startAuthorsWorkers } from '../../runtime/src/dev/index.ts';
import { Worker } from '../../runtime/src/worker/worker.ts';
import { startWorkers } from './worker-process.ts';

const factory =
  process.argv[2] === 'dev'
    ? startAuthorsWorkers({ layers: confinementHere(), heap: 64, note: () => {} })
    : startWorkers(64);
const worker = new Worker(await factory(), 3_600_000);
worker.load({ code: 'for (;;);', methods: [], metered: false }).catch(() => {});
for (let all: number[] = []; ; await sleep(50)) {
  all = below(process.pid);
  // It spins once it has used more than it takes to start.
  const busy = all.find((pid) => ticksOf(pid) > 200);
  if (busy === undefined) continue;
  console.log(JSON.stringify(all));
  break;
}
setInterval(() => {}, 60_000);

function below(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ').filter(Boolean).map(Number);
  return [...children, ...children.flatMap(below)];
}

/** Processor time of a process in its own mode, in hundredths of a second. */
function ticksOf(pid: number): number {
  const [, stat = ''] = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ');
  return Number(stat.split(' ')[11]);
}
