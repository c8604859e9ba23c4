/** The one disk that a deployment boots from: UKI, app bundle and state in partitions. */

import { createHash } from 'node:crypto';
import { parseBundle } from '@enclaim/attestation/bundle';
import { u64be, utf8 } from '@enclaim/attestation/bytes';
import { labelled } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import { formatUuid } from '@enclaim/attestation/guid';
import type { Label } from '@enclaim/attestation/labels';
import { parsePe } from '@enclaim/attestation/measure';
import { ImageError } from '../errors.ts';
import { bootVolume } from './fat.ts';
import { gptExtents, type Partition, type PartitionTable } from './gpt.ts';
import { type Extent, moved, roundUp, SECTOR, type SparseFile, sparseFile } from './sparse.ts';

/** The contents of a disk. */
export interface DiskContent {
  readonly uki: Uint8Array;
  /** `app.enclaim`. */
  readonly bundle: Uint8Array;
  /**
   * Size of the disk in GiB, at least 1, by default 2. The state partition gets what the other
   * partitions leave.
   */
  readonly gibibytes?: number;
}

/** A disk, and the table in it. */
export interface DiskImage extends SparseFile {
  readonly table: PartitionTable;
}

/**
 * A partition's type, and the name by which the guest finds it (guest/src/linux/disk.ts). The types
 * of app and state are hashes of those words: no other disk has them by chance, and no other system
 * mounts them.
 */
export const PARTITIONS = {
  boot: { name: 'EFI system partition', type: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b' },
  app: { name: 'enclaim-app', type: 'efbfe475-3aa7-82e2-ac7d-1be4b066cb1d' },
  state: { name: 'enclaim-state', type: '93a3a720-8783-8d3f-9e6c-f8feaa7cab39' },
} as const;

/** 1 MiB: what every cloud's block size divides. */
const ALIGNMENT = 2048;
const GIBIBYTE = 2 ** 30 / SECTOR;
const MAX_GIBIBYTES = 2040; // what a VHD can be, the lowest of all limits

/**
 * Lays out a disk. Its size is a whole number of GiB: Compute Engine demands that, and every other
 * cloud rounds up to it, after which the backup table would no longer be at the disk's end. Every
 * GUID follows from the contents, so that equal inputs make equal disks.
 *
 * @throws ImageError `binary-invalid` if UKI or bundle is not one, `too-large` if they leave no
 *   mebibyte of state
 */
export function makeDisk({ uki, bundle, gibibytes = 2 }: DiskContent): DiskImage {
  refuse(uki, 'UKI', parsePe);
  refuse(bundle, 'app bundle', parseBundle);
  if (!Number.isInteger(gibibytes) || gibibytes < 1 || gibibytes > MAX_GIBIBYTES)
    throw new ImageError('too-large', `disk of ${gibibytes} GiB, expected 1 to ${MAX_GIBIBYTES}`);
  const sectors = gibibytes * GIBIBYTE;
  const digest = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
  const seed = labelled('disk', digest(uki), digest(bundle), u64be(sectors));
  const guid = (use: string): string => derivedGuid('diskGuid', seed, utf8(use));

  const volume = bootVolume(uki, { hidden: ALIGNMENT, serial: Buffer.from(seed).readUInt32LE() });
  const appAt = ALIGNMENT + volume.sectors;
  const appSectors = roundUp(bundle.length / SECTOR, ALIGNMENT);
  const stateAt = appAt + appSectors;
  const stateSectors = sectors - ALIGNMENT - stateAt; // the last mebibyte holds the backup table
  if (stateSectors < ALIGNMENT) throw new ImageError('too-large', `${gibibytes} GiB leave no room for state`);
  const row = (use: keyof typeof PARTITIONS, first: number, length: number): Partition => ({
    ...PARTITIONS[use],
    id: guid(use),
    first,
    sectors: length,
  });
  const table: PartitionTable = {
    id: guid('disk'),
    sectors,
    partitions: [
      row('boot', ALIGNMENT, volume.sectors),
      row('app', appAt, appSectors),
      row('state', stateAt, stateSectors),
    ],
  };
  const extents: Extent[] = [
    ...gptExtents(table),
    ...moved(volume.extents, ALIGNMENT * SECTOR),
    { at: appAt * SECTOR, bytes: bundle },
  ];
  return { ...sparseFile(sectors * SECTOR, extents), table };
}

/** A GUID that is a hash: version 8, variant 1 (RFC 9562, 5.8). */
export function derivedGuid(label: Label, ...parts: readonly Uint8Array[]): string {
  const bytes = labelled(label, ...parts).slice(0, 16);
  bytes[6] = 0x80 | ((bytes[6] ?? 0) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] ?? 0) & 0x3f);
  return formatUuid(bytes);
}

/** A disk that cannot boot is not written: its first reader would be a cloud, minutes later. */
function refuse(bytes: Uint8Array, what: string, parse: (bytes: Uint8Array) => unknown): void {
  try {
    parse(bytes);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new ImageError('binary-invalid', `not a ${what}: ${cause.message}`, { cause });
  }
}
