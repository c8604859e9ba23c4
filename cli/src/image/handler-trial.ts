/** Finds faults of an app's handlers by loading them once, before anything boots. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { WORKER_HEAP } from '@enclaim/guest/worker-share';
import { projectRoot } from '@enclaim/image';
import type { MatchResult } from '@enclaim/policy-schema';
import { suggestion } from '@enclaim/policy-schema/suggestion';
import { printable } from '../printable.ts';
import type { TrialResult } from './handler-trial-process.ts';

/** Handlers that would not be served as they are. One message for each thing that is wrong. */
export class HandlersError extends Error {
  override readonly name = 'HandlersError';
  readonly code = 'unusable';

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
  }
}

/** Milliseconds after which a process is killed that should have ended a load without an end. */
const HANGS_MS = 300_000;
/**
 * Arguments of a process that may read this project's sources, has the engine's settings of a
 * worker, and can do nothing else.
 */
const PROGRAM = [
  '--no-warnings',
  '--permission',
  `--allow-fs-read=${projectRoot}`,
  '--no-experimental-sqlite',
  `--max-old-space-size=${WORKER_HEAP}`,
  '--js-nonextensible-applies-to-private',
  join(import.meta.dirname, 'handler-trial-process.ts'),
];

/**
 * Loads handlers as a worker would, and compares their names with the app's methods. A handler for
 * a withheld method is not a fault: another policy exposes that method.
 * @throws HandlersError
 */
export async function tryHandlers(handlers: Uint8Array, { exposed, withheld }: MatchResult): Promise<void> {
  const result = await loadOnce(handlers);
  if ('threw' in result) throw new HandlersError([`the handlers do not load: ${printable(result.threw)}`]);
  const { names } = result;
  if (names === null)
    throw new HandlersError(['the handlers export no object `handlers`, with a function for each method']);
  const needed = exposed.map(({ id }): string => id);
  const known = [...needed, ...withheld.map(({ method }) => method)];
  const problems = [
    ...needed.filter((id) => !names.includes(id)).map((id) => `no handler for ${id}, which the policy exposes`),
    ...names
      .filter((name) => !known.includes(name))
      .map((name) => `a handler for ${printable(name)}: no .proto has such a method${suggestion(name, known)}`),
  ];
  if (problems.length > 0) throw new HandlersError(problems);
}

async function loadOnce(handlers: Uint8Array): Promise<TrialResult> {
  const child = spawn(process.execPath, PROGRAM, { env: {}, stdio: ['pipe', 'pipe', 'ignore'], timeout: HANGS_MS });
  const ended = new Promise<string>((resolve) => {
    child.on('error', ({ message }) => resolve(message));
    child.on('close', (code, signal) => resolve(signal === null ? `exit status ${code}` : `${signal}`));
  });
  child.stdin.on('error', () => {}); // it ended before it had read all: its end says why
  child.stdin.end(handlers);
  const [said, end] = await Promise.all([text(child.stdout), ended]);
  try {
    return JSON.parse(said) as TrialResult;
  } catch {
    return { threw: `the process that loaded them ended with ${end}` };
  }
}
