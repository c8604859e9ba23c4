/** A program that a test has started, heard to its end. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';

/** How a program ended, and what it said. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Hears a program whose outputs are pipes. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const heard = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      heard[name] += text;
    });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...heard };
}
