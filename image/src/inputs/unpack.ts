/** Files of the locked inputs, as bytes that have the hash of the lock. */

import { NPM_DESCRIPTION, TAKEN_FILES } from '../contents.ts';
import { ImageError } from '../errors.ts';
import { fileAt, readTar, type TarFiles } from '../formats/tar.ts';
import { readDeb } from './deb.ts';
import { readLocked } from './fetch.ts';
import type { Lock, LockedInput } from './lock.ts';

/** Files of each locked input, by its name. */
export type Inputs = ReadonlyMap<string, TarFiles>;

/**
 * Unpacks every input; of an npm package only what the image takes.
 * @param paths - As `fetchLocked` returns them.
 * @throws ImageError as `readLocked`; `archive-invalid`, `hostile-path`
 */
export async function unpackInputs(lock: Lock, paths: ReadonlyMap<string, string>): Promise<Inputs> {
  const wanted = (input: LockedInput) => (path: string) =>
    path === NPM_DESCRIPTION || TAKEN_FILES.some((file) => file.input === input.name && file.file === path);
  const unpack = async (input: LockedInput): Promise<[string, TarFiles]> => {
    const bytes = await readLocked(input, paths);
    return [
      input.name,
      input.kind === 'deb' ? await readDeb(bytes) : await readTar('package.tgz', bytes, wanted(input)),
    ];
  };
  // Of several that fail, the first of the lock is named, whichever fails first.
  const unpacked = await Promise.allSettled(lock.inputs.map(unpack));
  return new Map(unpacked.map((each) => (each.status === 'fulfilled' ? each.value : fail(each.reason))));
}

function fail(reason: unknown): never {
  throw reason;
}

/** One file of one input. @throws ImageError `file-missing` */
export function fileOf(inputs: Inputs, input: string, path: string): Uint8Array {
  const files = inputs.get(input);
  if (files === undefined) throw new ImageError('file-missing', `the lock has no input ${input}`);
  return fileAt(files, path).data;
}
