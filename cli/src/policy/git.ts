/** The little that policies need of git. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { UsageError } from '../usage-error.ts';

const run = promisify(execFile);
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Standard output of a git command. @throws UsageError if git is missing, or refuses */
export async function git(args: readonly string[], cwd: string = process.cwd()): Promise<Buffer> {
  try {
    return (await run('git', [...args], { cwd, maxBuffer: MAX_OUTPUT, encoding: 'buffer' })).stdout;
  } catch (cause) {
    const { stderr, message } = cause as { stderr?: Buffer; message: string };
    const [why = message] = (stderr?.toString() ?? '').split('\n');
    throw new UsageError(`git ${args[0]}: ${why || message}`, { cause });
  }
}

/** The fields of NUL-separated output. */
export function fields(output: Buffer): string[] {
  return output
    .toString()
    .split('\0')
    .filter((field) => field !== '');
}
