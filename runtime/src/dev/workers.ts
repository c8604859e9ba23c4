/**
 * Workers on their author's machine. They have seccomp, Node's permissions and the realm as in the
 * VM, and the layers that this machine offers.
 */

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { processProcessorTime } from '../governor/readings.ts';
import type { AuthorNote } from '../worker/realm/author-notes.ts';
import type { WorkerFactory } from '../worker/worker.ts';
import type { Layers } from './layers.ts';

/**
 * The folder of sources that a worker may read until it seals itself, before it has any handlers.
 * Of an installed package it is the folder that the packages it imports lie in, too.
 */
const root = join(import.meta.dirname, '../../..').replace(/(\/node_modules)\/.*$/, '$1');
const HELD_BY_NODE = [
  '--js-nonextensible-applies-to-private',
  '--permission',
  '--allow-ffi',
  '--no-experimental-sqlite',
  `--allow-fs-read=${root}`,
  '--no-warnings',
];

/**
 * Facts about the machine that its workers need, and the receiver of handlers' notes to their
 * author.
 */
export interface AuthorsWorkers {
  readonly layers: Layers;
  /** MiB of JavaScript. */
  readonly heap: number;
  readonly note: (note: AuthorNote) => void;
}

/** Starts workers. Each is killed with the process that asked for it. */
export function startAuthorsWorkers({ layers: { launcher, forks }, heap, note }: AuthorsWorkers): WorkerFactory {
  return async () => {
    const [program = '', ...words] = [
      // The programs that make namespaces and groups need this environment for their own programs
      // and bus. The worker gets none of it.
      ...(launcher.length === 0 ? [] : [...launcher, 'env', '-i']),
      ...[process.execPath, '--no-warnings', join(import.meta.dirname, 'launcher.ts')],
      ...[process.execPath, `--max-old-space-size=${heap}`, ...HELD_BY_NODE],
      join(import.meta.dirname, 'worker.ts'),
    ];
    const env = launcher.length === 0 ? {} : process.env;
    const child = spawn(program, words, { env, stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
    const { stderr } = child;
    if (stderr !== null) createInterface({ input: stderr }).on('line', (line) => note(noteOf(line)));
    return {
      socket: child.stdio[3] as Duplex,
      kill: () => void child.kill('SIGKILL'),
      processorTime: () => processProcessorTime(forks ? childOf(Number(child.pid)) : Number(child.pid)),
    };
  };
}

/**
 * The note in a line of a worker's standard error. Any other line comes from the engine or a
 * launcher, and is shown as it is.
 */
function noteOf(line: string): AuthorNote {
  try {
    const note = JSON.parse(line) as AuthorNote;
    if (note.kind === 'threw' || note.kind === 'console') return note;
  } catch {
    // Not a note: shown as it is.
  }
  return { kind: 'console', level: 'worker', text: line };
}

/**
 * The only child of a process.
 *
 * @throws Error if there is none
 */
function childOf(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').split(' ');
  if (child === undefined || child === '') throw new Error('the worker has not begun');
  return Number(child);
}
