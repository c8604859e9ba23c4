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

/** The files of a commit. Links come as plain files, unless they are refused. */
export async function takeRevision(
  repository: string,
  revision: string,
  to: string,
  signal: AbortSignal | undefined,
  refused: { readonly links?: true } = {},
): Promise<TakenFrom> {
  if (!REVISION.test(revision)) throw invalidSources(`${revision} is no revision`);
  // The clone goes through a transport, so that every object is hashed. It has no templates,
  // because they may hold hooks.
  await git(['clone', '--quiet', '--no-checkout', '--no-local', '--template=', '--', repository, to], signal);
  const commit = await commitOf(to, revision);
  if (refused.links) await refuseLinks(to, commit, signal);
  await git(['-C', to, 'checkout', '--quiet', '--detach', commit], signal);
  await rm(join(to, '.git'), { recursive: true });
  return { from: repository, commit };
}

/** Modes of git for a link, and for a commit of another repository. */
const LINK_MODES: Readonly<Record<string, string>> = { 120000: 'a link', 160000: 'another repository' };

async function refuseLinks(clone: string, commit: string, signal: AbortSignal | undefined): Promise<void> {
  const tree = await git(['-C', clone, 'ls-tree', '-r', '-z', commit], signal);
  for (const entry of tree.split('\0')) {
    const what = LINK_MODES[entry.slice(0, 6)];
    if (what !== undefined) throw invalidSources(`${entry.slice(entry.indexOf('\t') + 1)} is ${what}, not a file`);
  }
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

async function git(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const options = [...GIT_OPTIONS.map((option) => `core.${option}`), 'protocol.ext.allow=never'];
  try {
    const env = { ...process.env, GIT_TERMINAL_PROMPT: '0' };
    const words = [...options.flatMap((option) => ['-c', option]), ...args];
    const limits = { timeout: 10 * MINUTES, maxBuffer: 1 << 24, ...(signal && { signal }) };
    const { stdout } = await promisify(execFile)('git', words, { env, ...limits });
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
