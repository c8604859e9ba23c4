/** Child processes, and how they are tied to the life of this one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { LineSplitter } from './console.ts';
import { MachineError } from './error.ts';

/** How a child ended. */
export interface ChildEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A started program. */
export interface Child {
  readonly pid: number;
  /** Settles when the program has ended and its output was read. */
  readonly ended: Promise<ChildEnd>;
  /** The last lines of its standard error, oldest first. */
  errors(): readonly string[];
  /** Asks it to end, and ends it after two seconds. Settles when it is gone. */
  stop(): Promise<void>;
}

type Argv = readonly [string, ...string[]];

const MAX_ERRORS = 20;
const PATIENCE_MS = 2000;

/**
 * `argv` in a form that makes the kernel kill the program when this process dies, of whatever
 * cause: setpriv sets PR_SET_PDEATHSIG and becomes it.
 */
export function tied(setpriv: string, argv: Argv): Argv {
  return [setpriv, '--pdeathsig', 'KILL', '--', ...argv];
}

/**
 * Starts a program in a session of its own. A Ctrl-C at the terminal reaches only this process,
 * which then ends its children in order.
 *
 * @param options.temporary The program's folder for temporary files.
 * @param options.onLine Told each clean line of standard output.
 * @throws MachineError `tool-missing` if the program cannot be started.
 */
export async function startChild(
  [program, ...args]: Argv,
  { temporary, onLine = () => {} }: { readonly temporary: string; readonly onLine?: (line: string) => void },
): Promise<Child> {
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { PATH: process.env.PATH, TMPDIR: temporary, LANG: 'C.UTF-8' },
  });
  const errors: string[] = [];
  const ended = new Promise<ChildEnd>((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  readLines(child.stdout, onLine);
  readLines(child.stderr, (line) => {
    errors.push(line);
    if (errors.length > MAX_ERRORS) errors.shift();
  });
  await once(child, 'spawn').catch((cause) => {
    throw new MachineError('tool-missing', `cannot start ${program}`, { cause });
  });
  return { pid: Number(child.pid), ended, errors: () => errors, stop: () => stop(child, ended) };
}

async function stop(child: ChildProcess, ended: Promise<ChildEnd>): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
  await ended;
  clearTimeout(timer);
}

function readLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  const lines = new LineSplitter();
  stream.setEncoding('latin1');
  stream.on('data', (piece: string) => {
    for (const line of lines.push(piece)) onLine(line);
  });
  stream.on('end', () => {
    for (const line of lines.end()) onLine(line);
  });
}
