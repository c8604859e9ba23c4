/** Workers as any computer can have them: Node's permission model, seccomp and the realm, but none of the VM's layers. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { WorkerFactory } from '@enclaim/runtime';

const root = join(import.meta.dirname, '../..');
const RESTRICTED = ['--permission', '--allow-ffi', `--allow-fs-read=${root}`, '--no-warnings'];

/** Starts one worker from its sources. */
export const startWorker: WorkerFactory = async () => {
  const program = [process.execPath, ...RESTRICTED, join(root, 'runtime/src/worker/main.ts')];
  const child = spawn(
    process.execPath,
    ['--no-warnings', join(import.meta.dirname, 'without-io-uring.ts'), ...program],
    {
      env: {},
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    },
  );
  return { socket: child.stdio[3] as Duplex, kill: () => void child.kill('SIGKILL') };
};
