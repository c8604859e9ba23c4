/** Workers as any computer can have them: Node's permission model, seccomp and the realm, but none of the VM's layers. */

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type { VmLayer } from '@enclaim/attestation/statement';
import type { Capacity, WorkerFactory } from '@enclaim/runtime';
import { buildSync } from 'esbuild';
import { ENTRY_OPTIONS } from '../../image/src/programs/compile.ts';
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

const bundles = new Map<string, string>();

/**
 * The file of a program, from its source as the image has such, bundled once a process: it starts in a quarter of the time that
 * it takes with a file for each module. It lies where workers may read.
 */
export function bundled(name: string, source: string): string {
  const known = bundles.get(source) ?? madeBefore(name);
  if (known !== undefined) return known;
  const entryPoints = [join(root, source)];
  const [built] = buildSync({ ...ENTRY_OPTIONS, absWorkingDir: root, entryPoints, write: false }).outputFiles;
  const file = join(root, '.cache/workers', `${name}.mjs`);
  mkdirSync(join(root, '.cache/workers'), { recursive: true });
  const partial = `${file}.${process.pid}.tmp`;
  writeFileSync(partial, built?.contents ?? '');
  renameSync(partial, file);
  bundles.set(source, file);
  return file;
}

/** A file of the process that started this one, which says so. A program that a test starts often need not make it again. */
function madeBefore(name: string): string | undefined {
  const file = join(root, '.cache/workers', `${name}.mjs`);
  return process.env.ENCLAIM_TEST_BUNDLED === '1' && existsSync(file) ? file : undefined;
}

/** The program that starts another one as a worker is started (runtime/src/dev/launcher.ts). */
export function bundledLauncher(): string {
  return bundled('launcher', 'runtime/src/dev/launcher.ts');
}

/** Starts workers from their sources, each with at most `heap` megabytes of JavaScript. */
export function startWorkers(heap = 160, engine: readonly string[] = ENGINE): WorkerFactory {
  const launcher = bundledLauncher();
  const worker = bundled('worker', 'runtime/src/worker/process/main.ts');
  return async () => {
    const program = [process.execPath, `--max-old-space-size=${heap}`, ...engine, ...RESTRICTED, worker];
    const launched = ['--no-warnings', launcher, ...program];
    const child = spawn(process.execPath, launched, { env: {}, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    return {
      socket: child.stdio[3] as Duplex,
      kill: () => void child.kill('SIGKILL'),
      processorTime: () => processProcessorTime(Number(child.pid)),
    };
  };
}
