/** What a commit would contain, beside what lies in the folder. */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fields, git } from './git.ts';

const RELEVANT = /\.(?:proto|ya?ml|json)$/;

/**
 * Does something in a copy of what is staged, as if it lay in the folder. Absent where nothing of it is staged.
 * @param paths folders and files, relative to the current folder, that matter
 */
export async function withStaged<T>(paths: readonly string[], work: () => Promise<T>): Promise<T | undefined> {
  const changed = fields(await git(['diff', '--cached', '--name-only', '-z', '--', ...paths]));
  if (!changed.some((path) => RELEVANT.test(path))) return undefined;
  const line = async (option: string): Promise<string> => (await git(['rev-parse', option])).toString().trimEnd();
  const [top, prefix] = [await line('--show-toplevel'), await line('--show-prefix')];
  const files = fields(await git(['ls-files', '-z', '--full-name', '--', ...paths])).filter((path) =>
    RELEVANT.test(path),
  );
  const copy = await mkdtemp(join(tmpdir(), 'enclaim-staged-'));
  const home = process.cwd();
  try {
    execFileSync('git', ['checkout-index', '-z', '--stdin', `--prefix=${copy}/`], {
      cwd: top,
      input: `${files.join('\0')}\0`,
    });
    // Messages then name files as they are named here.
    process.chdir(join(copy, prefix));
    return await work();
  } finally {
    process.chdir(home);
    await rm(copy, { recursive: true, force: true });
  }
}
