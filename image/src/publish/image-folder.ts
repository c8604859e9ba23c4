/**
 * An image on disk: UKI, kernel, initrd and their descriptions in one folder, which is there
 * completely or not at all.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { Image } from '../build/build.ts';
import { ImageError } from '../errors.ts';
import { writeWhole } from '../inputs/fetch.ts';
import { DOCUMENTS, SIGNED_PROVENANCE } from './provenance.ts';

const MANIFEST = 'manifest.json';

/**
 * Writes an image, in place of an older one of the same name. Of two writers at once one fails;
 * both leave one whole image.
 * @param sign - Makes the envelope of the provenance; without it there is none.
 * @throws ImageError `output-failed`, also if the folder holds anything but an image
 */
export async function writeImage(
  { manifest, ...bytes }: Image,
  folder: string,
  sign?: (statement: string) => string,
): Promise<void> {
  const target = resolve(folder);
  const scratch = `${scratchPrefix(target)}${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  const old = `${scratch}.old`;
  await refuseForeign(target);
  await sweep(target);
  try {
    await mkdir(scratch, { recursive: true });
    for (const [name, { file }] of Object.entries(manifest.artefacts)) {
      await writeWhole(join(scratch, file), bytes[name as keyof typeof bytes]);
    }
    for (const [name, document] of Object.entries(DOCUMENTS)) await writeWhole(join(scratch, name), document(manifest));
    if (sign !== undefined)
      await writeWhole(join(scratch, SIGNED_PROVENANCE), sign(DOCUMENTS['provenance.json'](manifest)));
    await rename(target, old).catch(() => {}); // none before
    await rename(scratch, target);
  } catch (cause) {
    await rename(old, target).catch(() => {}); // never moved, or another writer was first
    if (cause instanceof ImageError) throw cause;
    throw new ImageError('output-failed', `cannot write ${target}: ${(cause as Error).message}`, { cause });
  } finally {
    for (const path of [scratch, old]) await rm(path, { recursive: true, force: true });
  }
}

/** Refuses a folder that holds no image: a mistyped --out must not replace a folder of the user. */
async function refuseForeign(target: string): Promise<void> {
  const names = await readdir(target).catch((cause: NodeJS.ErrnoException): string[] => {
    if (cause.code === 'ENOENT') return [];
    throw new ImageError('output-failed', `${target} is not a folder`, { cause });
  });
  if (names.length > 0 && !names.includes(MANIFEST)) {
    throw new ImageError('output-failed', `${target} is not empty and holds no image`);
  }
}

/** Removes what killed builds left beside the target. */
async function sweep(target: string): Promise<void> {
  const prefix = basename(scratchPrefix(target));
  for (const name of await readdir(dirname(target)).catch(() => [])) {
    const pid = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('.')[0]) : Number.NaN;
    if (pid > 0 && !isRunning(pid)) await rm(join(dirname(target), name), { recursive: true, force: true });
  }
}

function scratchPrefix(target: string): string {
  return join(dirname(target), `.${basename(target)}.`);
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
