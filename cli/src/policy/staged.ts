/** The staged content, which a commit would have, beside the files that lie in the folder. */

import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, normalize } from 'node:path';
import { UsageError } from '../usage-error.ts';
import { fields, git } from './git.ts';

const RELEVANT = /\.(?:proto|ya?ml|json)$/;
/** Modes of the index whose content is elsewhere: links and submodules. */
const ELSEWHERE = /^(?:120000|160000) /;
/** A name under which something of an app lies, whatever it is. */
const PART = /(?:^|\/)(?:proto(?:\/.*)?|policy[^/]*\.(?:ya?ml|json)|[^/]*\.proto)$/;

/**
 * The current folder's path in its repository, with a slash at the end. Empty at the repository's
 * top, and if there is no repository.
 */
export async function prefixOf(): Promise<string> {
  return git(['rev-parse', '--show-prefix']).then(
    (said) => said.toString().trimEnd(),
    () => '',
  );
}

/**
 * Runs `work` for each app with something staged, in a copy of the staged files. If the folder has
 * a policy, or one is named, the folder is the app. Otherwise every folder below it that has a
 * policy is one, as in a repository of several apps.
 */
export async function eachStaged<T>(
  folder: string,
  policy: string | undefined,
  work: (folder: string) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  for (const at of await appsIn(folder, policy)) {
    const result = await withStaged([at, ...(policy === undefined ? [] : [policy])], () => work(at));
    if (result !== undefined) results.push(result);
  }
  return results;
}

const POLICY = /^policy\.(?:ya?ml|json)$/;

async function appsIn(folder: string, policy: string | undefined): Promise<string[]> {
  const known = fields(await git(['ls-files', '-z', '--', folder])).filter((path) => POLICY.test(basename(path)));
  const folders = [...new Set(known.map(dirname))].sort();
  // Without any it is for the work to say that there is no policy.
  return policy !== undefined || folders.length === 0 || folders.includes(normalize(folder)) ? [folder] : folders;
}

/**
 * Runs `work` in a copy of the staged files, as if it lay in the folder. Returns undefined if
 * nothing relevant is staged.
 * @param paths folders and files, relative to the current folder, that matter
 * @throws UsageError if the policy or .proto files are links or a submodule, of which the index has
 *   no content
 */
export async function withStaged<T>(paths: readonly string[], work: () => Promise<T>): Promise<T | undefined> {
  const changed = fields(await git(['diff', '--cached', '--name-only', '-z', '--', ...paths]));
  if (!changed.some((path) => RELEVANT.test(path) || PART.test(path))) return undefined;
  const [elsewhere] = fields(await git(['ls-files', '-z', '-s', '--full-name', '--', ...paths]))
    .filter((entry) => ELSEWHERE.test(entry))
    .map((entry) => entry.slice(entry.indexOf('\t') + 1))
    .filter((path) => PART.test(path));
  if (elsewhere !== undefined)
    throw new UsageError(
      `${elsewhere} is a link or a submodule: what is staged of it is not in this index, so nothing was compared; check without --staged`,
    );
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
