/** A step of the checks: a program of this project whose exit status says whether it passed. */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './imports.ts';

/**
 * Where Node keeps what it has compiled. A source whose types were stripped once is not stripped
 * again by each process.
 */
export const COMPILED: string = join(root, '.cache/compiled');

/** How a step ended, and all that it said, on either output. */
export interface EndedStep {
  readonly passed: boolean;
  readonly output: string;
}

/**
 * Runs Node with these words, in the root.
 * @param env - Added to the environment.
 */
export async function runStep(words: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<EndedStep> {
  const child = spawn(process.execPath, words, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  return { passed: status === 0, output };
}
