/** State that a command exports: a state folder, or a disk alone. */

import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { References, Verdict } from '@enclaim/attestation';
import { digestText, type Sha256 } from '@enclaim/attestation/digest';
import {
  auditLog,
  BootsOnDisk,
  type DiskBoots,
  epochsOn,
  type KnownTree,
  LogDisk,
  openLog,
  type ReadDisk,
} from '@enclaim/attestation/log-disk';
import { decodeEntry } from '@enclaim/attestation/record';
import { holdState, launchNote, refuseLockedDisk, STATE_DISK } from '@enclaim/image/machine';
import { diskOf, judgeBy } from '../log-disk.ts';
import { isRefused } from '../log-disk-boots.ts';
import { UsageError } from '../usage-error.ts';
import { StateError } from './error.ts';
import type { StateHeader } from './file.ts';

/** The place of a state, which no machine runs on. */
export interface StateSource extends AsyncDisposable {
  readonly kind: StateHeader['source'];
  /** Path of the disk. */
  readonly disk: string;
  readonly launch: StateHeader['launch'];
}

/**
 * Holds a state folder, or finds a disk that no process has locked.
 * @throws UsageError; MachineError `state-held`, `state-sealed`
 */
export async function holdSource(path: string): Promise<StateSource> {
  const found = await stat(path).catch((cause: Error) => {
    throw new UsageError(`${path} cannot be read: ${cause.message}`, { cause });
  });
  const isFolder = found.isDirectory();
  const disk = isFolder ? join(path, STATE_DISK) : path;
  const holder = isFolder ? path : basename(path) === STATE_DISK ? dirname(path) : null;
  await using held = new AsyncDisposableStack();
  if (holder !== null) held.use(await holdState(holder));
  await refuseLockedDisk(disk).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') throw new UsageError(`${path} has no ${STATE_DISK}`, { cause });
    throw cause;
  });
  const launch = holder === null ? null : await launchNote(holder);
  const moved = held.move();
  return {
    ...{ kind: holder === null ? 'disk' : 'folder', disk, launch },
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** A disk as it was found whole, without any key. */
export type WholeDisk = Pick<StateHeader, 'log' | 'newest' | 'epochs'>;

/** Demands on the log of a disk. */
export interface DiskDemands {
  /** Trees that are known from elsewhere. */
  readonly known?: readonly KnownTree[];
  /** References that each kept quote has to meet. */
  readonly references?: References | undefined;
}

/**
 * Looks at everything of a disk that shows without a key: each block, hash and tile of its log, the
 * heads of both slots, and quotes where there are references.
 *
 * @throws DecodeError; StateError `log`, `quote`
 */
export async function lookAtDisk(read: ReadDisk, capacity: number, demands: DiskDemands = {}): Promise<WholeDisk> {
  const { known = [], references } = demands;
  const heard = new BootsOnDisk();
  const audit = await auditLog(read, capacity, known, (block) => heard.hear(block));
  const [fault] = audit.faults;
  // layer: audit of an imported disk
  if (fault !== undefined)
    throw new StateError('log', `the disk's log has ${audit.faults.length} faults: ${fault.part}: ${fault.message}`);
  const [uncompared] = audit.uncompared;
  if (uncompared !== undefined)
    throw new StateError('log', `the tree of ${uncompared} records cannot be compared: they are no longer held`);
  if (references !== undefined) {
    const boots: DiskBoots<Verdict> = await heard.list(read, capacity, audit, judgeBy(references));
    if (isRefused(boots))
      throw new StateError('quote', 'a kept quote is refused by the references: see enclaim log disk');
  }
  const { head, minimum, entries } = await openLog(read, capacity);
  const log = { size: head.size, root: digestText('sha256', head.root as Sha256), minimum };
  return { log, newest: await newestOf(log, entries), epochs: await epochsOn(new LogDisk(read, capacity)) };
}

/** The newest record that is held; null without one. */
async function newestOf(
  { size, minimum }: StateHeader['log'],
  entries: (first?: number) => AsyncGenerator<Uint8Array>,
): Promise<StateHeader['newest']> {
  if (size <= minimum) return null;
  for await (const entry of entries(size - 1)) {
    const { time, system, policyDigest: policy } = decodeEntry(entry);
    return { time, system, policy };
  }
  return null;
}

/** Opens a disk to read. */
export async function readDisk(path: string): Promise<{ file: FileHandle; read: ReadDisk; capacity: number }> {
  const file = await open(path, 'r');
  try {
    return { file, ...(await diskOf(path, file)) };
  } catch (error) {
    await file.close();
    throw error;
  }
}
