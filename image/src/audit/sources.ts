/**
 * Takes sources into a clean folder for an audit: those of a folder as they lie there, or of a
 * revision. No program of theirs runs.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, cp, lstat, readdir, readFile, rm } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { ImageError } from '../errors.ts';
import { OTHER_LOCKS } from './locked-packages.ts';
import { lastLines } from './sandbox.ts';

/** Where sources are from; the commit is null for a folder, which may hold anything. */
export interface TakenFrom {
  readonly from: string;
  readonly commit: string | null;
}

const MINUTES = 60_000;
/** Milliseconds that one command of git may take. */
const MAX_GIT_MS = 10 * MINUTES;
/** Bytes of a file that git writes. A clone is one such file, whatever its repository holds. */
export const MAX_REPOSITORY_BYTES: number = 1024 ** 3;
/** Files of a commit. */
export const MAX_SOURCE_FILES = 100_000;
/** Bytes of a commit's files together. */
export const MAX_SOURCE_BYTES: number = 1024 ** 3;

/** Bounds on what is taken of a repository, which its operator fills. */
export interface SourceBounds {
  readonly repositoryBytes: number;
  readonly files: number;
  readonly bytes: number;
}

const BOUNDS: SourceBounds = {
  repositoryBytes: MAX_REPOSITORY_BYTES,
  files: MAX_SOURCE_FILES,
  bytes: MAX_SOURCE_BYTES,
};
/** Not part of the sources of an operator or author: made by installing and building, or by git. */
const MADE = new Set(['node_modules', '.git', '.cache', 'out']);

/**
 * Takes the sources of a folder as they lie there, or of a commit: a revision of the repository
 * around, or `REPOSITORY#REVISION`.
 */
export async function takeSources(source: string, to: string, signal: AbortSignal | undefined): Promise<TakenFrom> {
  const isFolder = await lstat(source).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder) return takeFolder(source, to, () => true);
  const [, repository = '.', revision = ''] = /^(?:(.+)#)?([^#]+)$/.exec(source) ?? [];
  if (!REVISION.test(revision)) throw invalidSources(`${source} is neither a folder nor a revision`);
  return takeRevision(repository, revision, to, signal);
}

const REVISION = /^[A-Za-z0-9_][A-Za-z0-9_./~^@-]*$/;

/**
 * Takes a folder without what installing and building made in it, and without what the caller
 * leaves out.
 */
export async function takeFolder(
  folder: string,
  to: string,
  keep: (path: string) => boolean | Promise<boolean>,
): Promise<TakenFrom> {
  const filter = (path: string): boolean | Promise<boolean> =>
    path === folder || (!MADE.has(basename(path)) && keep(path));
  await cp(folder, to, { recursive: true, verbatimSymlinks: true, filter });
  return { from: resolve(folder), commit: null };
}

/**
 * The files of a commit. Links come as plain files, unless they are refused.
 *
 * **Bound**: without limits, a repository could fill the disk of its auditor, by its size or by a
 * small commit that unpacks to a large one.
 * @throws ImageError `source-invalid`, also for a repository or commit that is too large
 */
export async function takeRevision(
  repository: string,
  revision: string,
  to: string,
  signal: AbortSignal | undefined,
  { links, bounds = BOUNDS }: { readonly links?: 'refused'; readonly bounds?: SourceBounds } = {},
): Promise<TakenFrom> {
  if (!REVISION.test(revision)) throw invalidSources(`${revision} is no revision`);
  // The clone goes through a transport, so that every object is hashed. It has no templates,
  // because they may hold hooks.
  const words = ['clone', '--quiet', '--no-checkout', '--no-local', '--template=', '--', repository, to];
  await git(words, signal, bounds.repositoryBytes);
  const commit = await commitOf(to, revision);
  await refuseEntries(to, commit, { links, bounds }, signal);
  await git(['-C', to, 'checkout', '--quiet', '--detach', commit], signal);
  await rm(join(to, '.git'), { recursive: true });
  return { from: repository, commit };
}

/** Modes of git for a link, and for a commit of another repository. */
const LINK_MODES: Readonly<Record<string, string>> = { 120000: 'a link', 160000: 'another repository' };

/** Refuses a commit before its files are written: too many, too large, or links among them. */
async function refuseEntries(
  clone: string,
  commit: string,
  { links, bounds }: { readonly links: 'refused' | undefined; readonly bounds: SourceBounds },
  signal: AbortSignal | undefined,
): Promise<void> {
  // A tree whose list has no end is cut by the limit on git's output.
  const tree = await git(['-C', clone, 'ls-tree', '-r', '-l', '-z', commit], signal);
  let [files, bytes] = [0, 0];
  for (const entry of tree.split('\0').filter(Boolean)) {
    const [, mode = '', size = '', path = ''] = /^(\d{6}) \w+ [0-9a-f]+ +(\d+|-)\t(.*)$/s.exec(entry) ?? [];
    const what = LINK_MODES[mode];
    if (links === 'refused' && what !== undefined) throw invalidSources(`${path} is ${what}, not a file`);
    files++;
    bytes += size === '-' ? 0 : Number(size);
  }
  if (files > bounds.files) throw invalidSources(`a commit of ${files} files, at most ${bounds.files} are taken`);
  if (bytes > bounds.bytes) throw invalidSources(`a commit of ${bytes} bytes, at most ${bounds.bytes} are taken`);
}

/** A branch of the repository is one of its remote in a clone. */
async function commitOf(clone: string, revision: string): Promise<string> {
  for (const name of [revision, `origin/${revision}`]) {
    const found = await git(['-C', clone, 'rev-parse', '--quiet', '--verify', `${name}^{commit}`]).catch(() => '');
    if (/^[0-9a-f]{40,64}\n$/.test(found)) return found.trim();
  }
  throw invalidSources(`no revision ${revision} in the repository`);
}

/** Links as files, lines as they are, and no program of the repository or of a template. */
const GIT_OPTIONS = ['symlinks=false', 'autocrlf=false', 'hooksPath=/dev/null', 'fsmonitor=false', 'attributesFile='];

/** @param fileBytes what each file that git writes may have */
async function git(
  args: readonly string[],
  signal?: AbortSignal,
  fileBytes: number = MAX_REPOSITORY_BYTES,
): Promise<string> {
  const options = [
    ...GIT_OPTIONS.map((option) => `core.${option}`),
    'protocol.ext.allow=never',
    // What is fetched stays one file, which has a limit.
    'fetch.unpackLimit=1',
  ];
  try {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: '0' };
    const words = [...options.flatMap((option) => ['-c', option]), ...args];
    const limits = { timeout: MAX_GIT_MS, maxBuffer: 1 << 24, ...(signal && { signal }) };
    const bounded = [`--fsize=${fileBytes}`, 'git', ...words];
    const { stdout } = await promisify(execFile)('prlimit', bounded, { env, ...limits });
    return stdout;
  } catch (cause) {
    signal?.throwIfAborted();
    throw invalidSources(`git ${args[0]}: ${lastLines(cause)}`, cause);
  }
}

/**
 * Refuses links and other locks among sources, and removes configuration of npm.
 *
 * **Trust**: installing writes below the sources, and a link among them would lead it elsewhere.
 */
export async function refuseHostile(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = relative(folder, join(entry.parentPath, entry.name));
    if (!entry.isFile() && !entry.isDirectory()) throw invalidSources(`${path} is neither file nor folder`);
    // It could make npm run programs of its own. As the lock has the hashes, it decides nothing
    // that is wanted.
    if (entry.name === '.npmrc') await rm(join(folder, path));
    if (OTHER_LOCKS.has(entry.name)) throw invalidSources(`${path} could stand in for the lock`);
    if (MADE.has(entry.name)) throw invalidSources(`${path} is something made, among sources`);
  }
}

/**
 * Gives files the modes of a fresh checkout: readable to the build's user, and without set-user-id
 * bits.
 */
export async function makePlain(folder: string): Promise<void> {
  for (const path of ['', ...(await readdir(folder, { recursive: true }))]) {
    const found = await lstat(join(folder, path));
    if (found.isSymbolicLink()) continue; // npm's, for workspaces and programs
    await chmod(join(folder, path), found.isDirectory() || (found.mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
}

/**
 * SHA-256 of a folder's files: of the lines that `sha256sum` writes of them, in the order of their
 * paths' bytes. Two folders with the same digest hold the same files under the same names.
 */
export async function treeDigest(folder: string): Promise<`sha256:${string}`> {
  const files = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const tree = createHash('sha256');
  for (const path of files) {
    // A name with a line break could stand for two files.
    if (/[\n\r\\]/.test(path)) throw invalidSources(`${JSON.stringify(path)} is no name of a source`);
    tree.update(
      `${createHash('sha256')
        .update(await readFile(join(folder, path)))
        .digest('hex')}  ./${path}\n`,
    );
  }
  return `sha256:${tree.digest('hex')}`;
}

/** Sources that are refused. */
export function invalidSources(message: string, cause?: unknown): ImageError {
  return new ImageError('source-invalid', message, { cause });
}
