/** A worker whose handler spins ends with the process that started it, also where that one is killed. */

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { eventually } from './support/eventually.ts';
import { needs } from './support/machine-needs.ts';
import { Program } from './support/program.ts';

const PARENT = join(import.meta.dirname, 'support/worker-parent.ts');

for (const [kind, here] of [
  ['tests', {}],
  ['dev', needs('user namespaces')],
] as const) {
  test(`a worker of ${kind} that spins is over when its parent is killed`, here, async () => {
    await using parent = new Program([process.execPath, '--no-warnings', PARENT, kind]);
    const [line] = await parent.line(/^\[.*\]$/);
    const pids: number[] = JSON.parse(line);
    assert.ok(pids.length > 0);
    await parent.stop('SIGKILL');
    try {
      await eventually('every process of it is over', () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    } finally {
      for (const pid of pids) if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
    }
  });
}
