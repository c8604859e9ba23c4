/** A copy of this checkout in which things can be changed, and builds of it as processes of their own. */

import { execFile } from 'node:child_process';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { ClaimedImage } from '../../image/src/audit/audit.ts';
import type { Image } from '../../image/src/build/build.ts';
import { parseManifest } from '../../image/src/describe/manifest.ts';
import { defaultCache, projectRoot } from '../../image/src/inputs/fetch.ts';

/** Everything that a build reads; tools that it does not run are left out. */
const SKIPPED = new Set(['.git', '.cache', 'out', '@biomejs', '@typescript', '@duckdb', '@phala']);

const OWN_NODE = 'scripts/bootstrap/node_modules';

/** Copies what a build reads. */
export async function copyCheckout(to: string): Promise<void> {
  await cp(projectRoot, to, {
    recursive: true,
    verbatimSymlinks: true,
    preserveTimestamps: true,
    filter: (path) => path === projectRoot || !(SKIPPED.has(basename(path)) || path.endsWith(OWN_NODE)),
  });
}

/** As {@link copyCheckout}; its builds pack in a second what others pack in a minute, into a somewhat larger image. */
export async function copyQuickCheckout(to: string): Promise<void> {
  await copyCheckout(to);
  const zstd = join(to, 'image/src/formats/zstd.ts');
  const text = await readFile(zstd, 'utf8');
  const quick = text.replace('LEVEL = 19', 'LEVEL = 1');
  if (quick === text) throw new Error(`${zstd} has no level 19`);
  await writeFile(zstd, quick);
}

/** How a build runs. */
export interface BuildRun {
  /** Words before the command, such as `taskset -c 0`. */
  readonly prefix?: readonly string[];
  /** Module that Node loads first. */
  readonly preload?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly umask?: number;
  readonly user?: { readonly uid: number; readonly gid: number };
  /** Whether packed parts may come from the cache. */
  readonly reuse?: boolean;
  /** Folder of an app: its bundle and disk are made as well, beside the image. */
  readonly app?: string;
}

/** Builds the image of a checkout, by its own code, into a folder. */
export async function buildCheckout(folder: string, out: string, run: BuildRun = {}): Promise<void> {
  const { prefix = [], preload, env = {}, umask = 0o022, user = {}, reuse = true, app } = run;
  const program = `
    process.umask(${umask});
    const { buildImage, writeImage } = await import(${JSON.stringify(join(folder, 'image/src/index.ts'))});
    const image = await buildImage({ mirrors: [], reuse: ${reuse} });
    await writeImage(image, ${JSON.stringify(out)});
    ${app === undefined ? '' : withApp(folder, out, app)}`;
  const node = [
    process.execPath,
    ...(preload === undefined ? [] : ['--import', preload]),
    '--input-type=module',
    '-e',
    program,
  ];
  const [command = '', ...args] = [...prefix, ...node];
  await promisify(execFile)(command, args, {
    cwd: folder,
    ...user,
    env: { PATH: process.env.PATH ?? '', HOME: out, ENCLAIM_CACHE: defaultCache(), ...env },
  });
}

function withApp(folder: string, out: string, app: string): string {
  return `
    const { buildBundle, findApp } = await import(${JSON.stringify(join(folder, 'image/src/index.ts'))});
    const { DISK_TARGETS, makeDisk, writeDisk } = await import(${JSON.stringify(join(folder, 'image/src/disk/index.ts'))});
    const { writeFile } = await import('node:fs/promises');
    const { bytes } = await buildBundle(await findApp(${JSON.stringify(join(folder, app))}));
    await writeFile(${JSON.stringify(`${out}.enclaim`)}, bytes);
    const disk = makeDisk({ uki: image.uki, bundle: bytes, gibibytes: 1 });
    for (const target of Object.keys(DISK_TARGETS)) await writeDisk(disk, target, ${JSON.stringify(`${out}.`)} + target);`;
}

/** An image as a build wrote it. */
export async function readImage(folder: string): Promise<Image> {
  const manifest = parseManifest(await readFile(join(folder, 'manifest.json'), 'utf8'));
  const { uki, kernel, initrd } = manifest.artefacts;
  return {
    manifest,
    uki: await readFile(join(folder, uki.file)),
    kernel: await readFile(join(folder, kernel.file)),
    initrd: await readFile(join(folder, initrd.file)),
  };
}

/** An image as somebody hands it over. */
export function claim({ manifest, uki, kernel, initrd }: Image): ClaimedImage {
  return { manifest, files: { uki, kernel, initrd }, documents: {} };
}

/** Changes a file of a checkout while `work` runs. The file is replaced, never written into. */
export async function withChange<T>(
  folder: string,
  path: string,
  change: (text: string) => string,
  work: () => Promise<T>,
): Promise<T> {
  const file = join(folder, path);
  const text = await readFile(file, 'utf8');
  const changed = change(text);
  if (changed === text) throw new Error(`the change changes nothing in ${path}`);
  const put = async (content: string): Promise<void> => {
    await rm(file);
    await writeFile(file, content);
  };
  await put(changed);
  try {
    return await work();
  } finally {
    await put(text);
  }
}
