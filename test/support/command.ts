/** Commands of the command line in the process of a test, one at a time. */

import { mock } from 'node:test';
import { CommanderError } from 'commander';
import { EXIT } from '../../cli/src/exit-status.ts';
import { makeProgram } from '../../cli/src/program.ts';
import { report } from '../../cli/src/report.ts';

/** The end of a command. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command in this process: the status it would end with, and what it says. */
export async function enclaim(...args: readonly string[]): Promise<Ended> {
  const said = { stdout: '', stderr: '' };
  const hear = (stream: 'stdout' | 'stderr') => (text: unknown) => {
    said[stream] += `${text}\n`;
  };
  const heard = [mock.method(console, 'log', hear('stdout')), mock.method(console, 'error', hear('stderr'))];
  process.exitCode = 0;
  try {
    await (await makeProgram()).configureOutput({ writeErr: hear('stderr') }).parseAsync(args, { from: 'user' });
  } catch (error) {
    process.exitCode = error instanceof CommanderError ? EXIT.usage : report(error);
  }
  for (const each of heard) each.mock.restore();
  const code = Number(process.exitCode);
  process.exitCode = 0;
  return { code, ...said };
}
