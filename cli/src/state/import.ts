/** `enclaim state import`: an exported state, into a folder for `enclaim run --state`. */

import { type FileHandle, mkdir, open, stat, statfs } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ReadDisk } from '@enclaim/attestation/log-disk';
import { RECOVERY_AT, recoveryArea } from '@enclaim/attestation/recovery';
import { holdState, launchNote, noteLaunch, STATE_DISK } from '@enclaim/image/machine';
import { UsageError } from '../usage-error.ts';
import { StateError } from './error.ts';
import { syncFolder, writeNew } from './export.ts';
import { bytesOf, epochOf, StateFile, type StateHeader } from './file.ts';
import { type DiskDemands, lookAtDisk } from './source.ts';

/** Opens an exported state. @throws UsageError, DecodeError */
export async function openState(path: string): Promise<{ file: FileHandle; state: StateFile }> {
  const file = await open(path, 'r').catch((cause: Error) => {
    throw new UsageError(`${path} cannot be read: ${cause.message}`, { cause });
  });
  try {
    return { file, state: await StateFile.open(file) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Demands on an exported state, and the recovery that it is imported by. */
export interface ImportDemands extends DiskDemands {
  /** The recovery for a header: canonical bytes. Absent for a state that is the newest. */
  readonly recovery?: ((header: StateHeader) => Promise<Uint8Array>) | undefined;
}

/**
 * Imports an exported state into a folder that has none, whole or not at all.
 *
 * **Trust**: the file's, as far as no key is needed to see that it is false. Whether the state is
 * the newest, the keeper decides when a machine boots.
 * @param folder a state folder without a disk, or none; its TPM is left alone
 * @throws UsageError, DecodeError, StateError; MachineError `state-held`, `state-sealed`
 */
export async function importState(path: string, folder: string, demands: ImportDemands): Promise<StateHeader> {
  const { file, state } = await openState(path);
  await using _file = file;
  const { header } = state;
  const recovery = await demands.recovery?.(header);
  if (recovery === undefined) demandNewest(header);
  const made = await mkdir(folder, { recursive: true, mode: 0o700 });
  await using _held = await holdState(folder);
  const disk = join(folder, STATE_DISK);
  if ((await stat(disk).catch(() => undefined)) !== undefined)
    throw new UsageError(`${disk} is there already; nothing was written`);
  const noted = await launchNote(folder);
  if (noted !== null && !isDeepStrictEqual(noted, header.launch))
    throw new UsageError(`${folder} notes another launch than that of the exported state (sealed-to.json)`);
  await demandRoom(folder, header);
  await writeNew(disk, async (to) => {
    await to.truncate(header.capacity);
    for await (const [at, bytes] of state.blocks()) await writeAll(to, bytes, at);
    const { log, newest, epochs } = await lookAtDisk(readerOf(to), header.capacity, demands);
    const said = { log: header.log, newest: header.newest, epochs: header.epochs };
    // layer: header of an exported state
    if (!isDeepStrictEqual({ log, newest, epochs }, said))
      throw new StateError(
        'header',
        `the disk has ${log.size} records and epochs ${epochs.join(', ')}, its header says otherwise`,
      );
    if (recovery !== undefined) await writeAll(to, recoveryArea(recovery), RECOVERY_AT);
  });
  if (header.launch !== null) await noteLaunch(folder, header.launch);
  await syncFolders(folder, made);
  return header;
}

/** Has a folder, and those above it that were made for it, outlast a cut of the power. */
async function syncFolders(folder: string, made: string | undefined): Promise<void> {
  const last = resolve(made === undefined ? folder : dirname(made));
  for (let each = resolve(folder); ; each = dirname(each)) {
    await syncFolder(each);
    if (each === last || each === dirname(each)) return;
  }
}

/**
 * Refuses a copy of a disk that nothing says to be the newest: within an epoch the keeper cannot
 * tell, and no mark would show that it is older.
 */
function demandNewest(header: StateHeader): void {
  // layer: snapshots of a disk
  if (header.source === 'disk' && epochOf(header) !== null)
    throw new StateError(
      'newest',
      'exported from a disk alone, which may be a snapshot: export the state folder, or state a recovery',
    );
}

/** @throws Error with the code ENOSPC */
async function demandRoom(folder: string, header: StateHeader): Promise<void> {
  const { bavail, bsize } = await statfs(folder, { bigint: true });
  const needed = BigInt(bytesOf(header));
  // layer: room for an exported state
  if (needed > bavail * bsize)
    throw Object.assign(new Error(`${folder} has less room than the ${needed} bytes of the exported state`), {
      code: 'ENOSPC',
    });
}

/** Writes bytes, however few are taken at once. */
async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}

function readerOf(file: FileHandle): ReadDisk {
  return async (at, length) => {
    const { bytesRead, buffer } = await file.read(new Uint8Array(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  };
}
