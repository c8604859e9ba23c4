/**
 * An app to audit: a folder of the audited sources, or an operator's own repository with packages
 * of its own under a lock.
 */
import { lstat, mkdir, readdir, readFile, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { findApp } from '../build/bundle.ts';
import { compileHandlers } from '../programs/compile.ts';
import { checkLock, installLocked } from './locked-packages.ts';
import { invalidSources, refuseHostile, type TakenFrom, takeFolder, takeRevision, treeDigest } from './sources.ts';

/** An app in the clean folder. */
export interface AuditedApp {
  readonly folder: string;
  /** Where it is from, and the digest of its files; null if it is part of the sources. */
  readonly source: (TakenFrom & { readonly digest: string }) | null;
  /** Whether handlers have packages of their own. */
  readonly packages: boolean;
}

/**
 * Patterns, in the form of a .gitignore, of what commands make in an app's folder. An app is not
 * made of any of it.
 */
export const APP_MADE = ['node_modules/', 'state/', '*.enclaim', '*.enclaim-receipt'] as const;

/** Most bytes of a package.json or a lock of npm: many times this project's own. */
const MAX_DOCUMENT = 1 << 25;
const MAX_APP_FILES = 10_000;
const MAX_APP_BYTES = 1 << 28;
const MAX_NAMED = 16;

/**
 * Takes an app into the clean folder, unless it lies there already, and refuses what could not be
 * bundled from there.
 * @param to where an app goes that is not part of the sources
 * @throws ImageError `source-invalid`; `file-missing` for a folder that is no app
 */
export async function takeApp(
  name: string,
  sources: string,
  to: string,
  signal: AbortSignal | undefined,
): Promise<AuditedApp> {
  const below = !name.includes('#') && !/^(?:\.{0,2}\/|\.{1,2}$)/.test(name);
  if (below) {
    const folder = resolve(sources, name);
    const found = folder.startsWith(sources + sep) ? await lstat(folder).catch(() => null) : null;
    if (!found?.isDirectory())
      throw invalidSources(
        `there is no folder ${name} in the sources; an app of another repository is ./FOLDER or REPOSITORY#REVISION`,
      );
    return { folder, source: null, packages: await checkApp(folder) };
  }
  const taken = await (name.includes('#') ? takeAppRevision(name, to, signal) : takeAppFolder(name, to));
  const source = { ...taken, digest: await treeDigest(to) };
  await refuseHostile(to);
  return { folder: to, source, packages: await checkApp(to) };
}

/**
 * Installs the app's packages, if it has any.
 * @throws ImageError `fetch-failed`, `source-invalid`
 */
export async function installApp(app: AuditedApp, signal: AbortSignal | undefined): Promise<void> {
  if (app.packages) await installLocked(app.folder, signal, ['--omit=dev']);
}

/**
 * Compiles the handlers. What cannot be compiled here cannot be compiled by the sources' build
 * either, which would come to it after minutes.
 * @throws ImageError `compile-failed`, `import-forbidden`
 */
export async function tryApp({ folder }: AuditedApp): Promise<void> {
  const { handlersEntry } = await findApp(folder);
  await compileHandlers(folder, relative(folder, handlersEntry));
}

async function takeAppFolder(name: string, to: string): Promise<TakenFrom> {
  const folder = await realpath(name).catch((cause) => {
    throw invalidSources(`there is no folder ${name}`, cause);
  });
  if (!(await lstat(folder)).isDirectory()) throw invalidSources(`${name} is no folder`);
  const isMade = (path: string): boolean =>
    APP_MADE.some((pattern) =>
      pattern.endsWith('/') ? path === join(folder, pattern.slice(0, -1)) : basename(path).endsWith(pattern.slice(1)),
    );
  const meter = appMeter();
  return takeFolder(folder, to, async (path) => !isMade(path) && meter(path));
}

/** `REPOSITORY#REVISION` or `REPOSITORY#REVISION:FOLDER`. */
async function takeAppRevision(name: string, to: string, signal: AbortSignal | undefined): Promise<TakenFrom> {
  const [, repository = '', revision = '', folder = '.'] = /^(.+)#([^#:]+)(?::(.+))?$/.exec(name) ?? [];
  if (repository === '') throw invalidSources(`${name} is not REPOSITORY#REVISION[:FOLDER]`);
  const whole = `${to}-repository`;
  const taken = await takeRevision(repository, revision, whole, signal, { links: 'refused' });
  const part = resolve(whole, folder);
  const found = part === whole || part.startsWith(whole + sep) ? await lstat(part).catch(() => null) : null;
  if (!found?.isDirectory()) throw invalidSources(`there is no folder ${folder} at ${revision}`);
  await mkdir(dirname(to), { recursive: true });
  await rename(part, to);
  await rm(whole, { recursive: true, force: true });
  await refuseLarge(to);
  return part === whole ? taken : { ...taken, from: `${taken.from}:${relative(whole, part)}` };
}

/**
 * Returns a meter that is called for each file before it is read.
 * @throws ImageError `source-invalid` if there are too many files, or too many bytes
 */
function appMeter(): (path: string) => Promise<true> {
  let [files, bytes] = [0, 0];
  return async (path) => {
    files++;
    bytes += (await lstat(path)).size;
    if (files > MAX_APP_FILES || bytes > MAX_APP_BYTES)
      throw invalidSources(`an app of more than ${MAX_APP_FILES} files or ${MAX_APP_BYTES} bytes`);
    return true;
  };
}

async function refuseLarge(folder: string): Promise<void> {
  const meter = appMeter();
  for (const path of await readdir(folder, { recursive: true })) await meter(join(folder, path));
}

/**
 * Checks an app, and returns whether there are packages to install.
 * @throws ImageError for what an audit could not make again
 */
export async function checkApp(folder: string): Promise<boolean> {
  await findApp(folder);
  const own = await readObject(join(folder, 'package.json'));
  const lock = await readObject(join(folder, 'package-lock.json'));
  if (own === null && lock === null) return false;
  if (own === null) throw invalidSources('a package-lock.json without a package.json');
  const needed = Object.keys(Object(own.dependencies));
  if (own.workspaces !== undefined) throw invalidSources('an app has no workspaces: its packages are in its own lock');
  if (lock === null) {
    if (needed.length === 0) return false;
    throw invalidSources(
      `the app depends on ${list(needed)} and has no package-lock.json, which says what that is: npm install makes it`,
    );
  }
  const packages = Object.entries(Object(lock.packages)).filter(([path]) => path !== '');
  refusePackages(packages.map(([path, one]) => [path, Object(one)]));
  await checkLock(folder);
  const lacks = needed.filter((name) => !packages.some(([path]) => path === `node_modules/${name}`));
  if (lacks.length > 0) throw invalidSources(`package-lock.json lacks ${list(lacks)}, on which the app depends`);
  return packages.some(([, one]) => Object(one).dev !== true);
}

type Entry = Readonly<Record<string, unknown>>;

/**
 * Reasons to refuse a package that handlers may hold. The first that applies is reported, with the
 * names of all packages that it applies to.
 */
const REFUSED: readonly (readonly [string, (entry: Entry) => boolean])[] = [
  ['is a folder, not a package of a registry', ({ link }) => link === true],
  [
    'is not from a registry',
    ({ resolved }) => resolved !== undefined && !/^https:\/\/[^?#]+\.tgz$/.test(String(resolved)),
  ],
  // An optional package may be left out, because the lock is from another machine. npm does not
  // install it here, and `installLocked` checks what is installed.
  [
    'has no integrity in package-lock.json',
    ({ integrity, inBundle, optional }) => integrity === undefined && inBundle !== true && optional !== true,
  ],
  ['has an install script, and an audit runs none', ({ hasInstallScript, dev }) => hasInstallScript === true && !dev],
];

function refusePackages(packages: readonly (readonly [string, Entry])[]): void {
  for (const [what, applies] of REFUSED) {
    const found = packages.filter(([, entry]) => applies(entry)).map(([path]) => path);
    if (found.length > 0) throw invalidSources(`${list(found)} ${what}`);
  }
}

/** A JSON object; null if there is no such file. */
async function readObject(file: string): Promise<Entry | null> {
  const found = await lstat(file).catch(() => null);
  if (found === null) return null;
  if (!found.isFile() || found.size > MAX_DOCUMENT)
    throw invalidSources(`${basename(file)} is no file of at most ${MAX_DOCUMENT} bytes`);
  try {
    return Object(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw invalidSources(`${basename(file)} is no JSON`, cause);
  }
}

function list(names: readonly string[]): string {
  const more = names.length > MAX_NAMED ? ` and ${names.length - MAX_NAMED} more` : '';
  return `${names.slice(0, MAX_NAMED).join(', ')}${more}`;
}
