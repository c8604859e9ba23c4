/** `enclaim state export`: the state disk of a machine that does not run, as one file. */

import type { BigIntStats } from 'node:fs';
import { type FileHandle, link, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { refuseLockedDisk } from '@enclaim/image/machine';
import { UsageError } from '../usage-error.ts';
import { countBlocks, type StateHeader, writeState } from './file.ts';
import { holdSource, lookAtDisk, readDisk } from './source.ts';

/**
 * Exports the state of a folder or a disk into a new file, whole or not at all.
 *
 * @param path a state folder, or a disk
 * @param to the file, which must not be there
 * @returns what the file says of itself
 * @throws UsageError; DecodeError, StateError for a disk that is not whole; MachineError
 * `state-held`
 */
export async function exportState(path: string, to: string): Promise<StateHeader> {
  await using source = await holdSource(path);
  const { file: disk, read, capacity } = await readDisk(source.disk);
  await using _disk = disk;
  const before = await disk.stat({ bigint: true });
  const found = await lookAtDisk(read, capacity);
  const header: StateHeader = {
    ...{ enclaim: 'state/1', made: new Date().toISOString(), source: source.kind, capacity },
    blocks: await countBlocks(read, capacity),
    ...found,
    launch: source.launch,
  };
  await writeNew(to, async (file) => {
    await writeState(file, header, read);
    // A machine that began meanwhile, with a program that does not ask for the folder's lock.
    await refuseLockedDisk(source.disk);
    // layer: disks that change while they are read
    if (isChanged(before, await disk.stat({ bigint: true })))
      throw new UsageError(`${source.disk} was changed while it was read`);
  });
  return header;
}

function isChanged(before: BigIntStats, after: BigIntStats): boolean {
  return before.mtimeNs !== after.mtimeNs || before.size !== after.size;
}

/** Has the names of a folder's files outlast a cut of the power. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

/**
 * Writes a file that only this user reads, whole or not at all, where none is. It outlasts a cut of
 * the power once this has resolved.
 * @throws UsageError if one is there
 */
export async function writeNew(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const partial = `${path}.${process.pid}.partial`;
  const file = await open(partial, 'wx+', 0o600).catch((cause: Error) => {
    throw new UsageError(`${path} cannot be written: ${cause.message}`, { cause });
  });
  try {
    await using _file = file;
    await write(file);
    await file.sync();
    await link(partial, path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
      throw new UsageError(`${path} is there already; nothing was written`, { cause });
    });
  } finally {
    await rm(partial, { force: true });
  }
  await syncFolder(dirname(path));
}
