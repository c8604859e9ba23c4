/** Workers as any computer can have them: Node's permission model, seccomp and the realm, but none of the VM's layers. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { VmLayer } from '@enclaim/attestation/statement';
import type { Capacity, WorkerFactory } from '@enclaim/runtime';
import { processProcessorTime } from '../../runtime/src/governor/readings.ts';

const root = join(import.meta.dirname, '../..');
const RESTRICTED = [
  '--permission',
  '--allow-ffi',
  '--no-experimental-sqlite',
  `--allow-fs-read=${root}`,
  '--no-warnings',
];

/** What the engine itself must hold: that nothing is added to a frozen object, not even a private field. */
const ENGINE = ['--js-nonextensible-applies-to-private'];

/** What these workers lack. */
export const MISSING_LAYERS: readonly VmLayer[] = ['user', 'namespaces', 'root', 'cgroup'];

/** What one of these workers has for handlers. */
export const CAPACITY: Capacity = { memory: 160 * 1024 * 1024, processors: 1 };

/** Starts workers from their sources, each with at most `heap` megabytes of JavaScript. */
export function startWorkers(heap = 160, engine: readonly string[] = ENGINE): WorkerFactory {
  return async () => {
    const program = [
      process.execPath,
      `--max-old-space-size=${heap}`,
      ...engine,
      ...RESTRICTED,
      join(root, 'runtime/src/worker/process/main.ts'),
    ];
    const launched = ['--no-warnings', join(root, 'runtime/src/dev/without-io-uring.ts'), ...program];
    const child = spawn(process.execPath, launched, { env: {}, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    return {
      socket: child.stdio[3] as Duplex,
      kill: () => void child.kill('SIGKILL'),
      processorTime: () => processProcessorTime(Number(child.pid)),
    };
  };
}
