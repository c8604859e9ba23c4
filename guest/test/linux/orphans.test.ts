/** Orphans are reaped, and no exit of a child of Node is taken from it. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

/** A process that adopts orphans (PR_SET_CHILD_SUBREAPER) stands in for PID 1; it prints what became of each. */
const ADOPTER = `
  import { spawn } from 'node:child_process';
  import { once } from 'node:events';
  import { readFileSync } from 'node:fs';
  import { setTimeout as sleep } from 'node:timers/promises';
  import { libc } from '${new URL('../../src/linux/libc.ts', import.meta.url)}';
  import { claimChild, reapOrphans, releaseChild } from '${new URL('../../src/linux/orphans.ts', import.meta.url)}';
  const REAP = process.argv.includes('reap');
  libc().prctl(36, 1n, 0n, 0n, 0n);
  if (REAP) reapOrphans();
  const exits = [];
  for (let round = 0; round < 20; round++) {
    const child = spawn('/bin/sh', ['-c', '(sleep 0.0$1 & sleep 0.0$2 &) ; exit $3', 'sh', String(round % 7), String(round % 5), String(round)]);
    claimChild(child.pid);
    exits.push(once(child, 'exit').then(([code]) => { releaseChild(child.pid); return code; }));
  }
  const codes = await Promise.all(exits);
  // Until nobody is left that may be reaped, or all forty are dead.
  const dead = (pid) => readFileSync('/proc/' + pid + '/stat', 'latin1').split(') ')[1].startsWith('Z');
  const left = () => readFileSync('/proc/self/task/' + process.pid + '/children', 'latin1').trim().split(' ').filter((pid) => pid !== '');
  for (; REAP ? left().length > 0 : left().filter(dead).length < 40; await sleep(20));
  console.log(JSON.stringify({ codes, zombies: left().length }));
`;

async function adopt(...args: string[]): Promise<{ codes: number[]; zombies: number }> {
  const argv = ['--disable-warning=ExperimentalWarning', '--input-type=module', '--eval', ADOPTER, '--', ...args];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const said = Array.fromAsync(child.stdout.setEncoding('utf8'));
  await once(child, 'exit');
  return JSON.parse((await said).join(''));
}

const CODES = Array.from({ length: 20 }, (_, round) => round);

test('orphans are reaped, and no exit is taken from Node', async () => {
  assert.deepEqual(await adopt('reap'), { codes: CODES, zombies: 0 });
});

test('without the reaper they would stay', async () => {
  assert.deepEqual(await adopt(), { codes: CODES, zombies: 40 });
});
