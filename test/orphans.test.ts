/** A worker whose handler spins ends with the process that started it, also where that one is killed. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { eventually } from './support/eventually.ts';
import { needs } from './support/machine-needs.ts';

const PARENT = join(import.meta.dirname, 'support/worker-parent.ts');

for (const [kind, here] of [
  ['tests', {}],
  ['dev', needs('user namespaces')],
] as const) {
  test(`a worker of ${kind} that spins is over when its parent is killed`, here, async () => {
    const parent = spawn(process.execPath, ['--no-warnings', PARENT, kind], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await once(createInterface({ input: parent.stdout }), 'line');
    const pids: number[] = JSON.parse(line);
    assert.ok(pids.length > 0);
    parent.kill('SIGKILL');
    await once(parent, 'exit');
    try {
      await eventually('every process of it is over', () => pids.every((pid) => !existsSync(`/proc/${pid}`)));
    } finally {
      for (const pid of pids) if (existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
    }
  });
}
