/** Where a disk is to boot, and the file that is imported there. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { utf8 } from '@enclaim/attestation/bytes';
import { ImageError } from '../errors.ts';
import { sparseTar, storedGzip } from './archive.ts';
import type { DiskImage } from './disk.ts';
import type { SparseFile } from './sparse.ts';
import { fixedVhd } from './vhd.ts';

export type DiskTarget = 'qemu' | 'gcp' | 'azure' | 'aws';

interface Form {
  /** End of the file's usual name. */
  readonly extension: string;
  readonly write: (file: FileHandle, disk: DiskImage) => Promise<void>;
}

/**
 * File formats that each target imports. The disk in it is the same everywhere, and a whole number
 * of GiB.
 *
 * - qemu: the disk's bytes.
 * - gcp: `disk.raw` in a gzipped tar file of GNU's old format, a multiple of 1 GiB (Compute Engine,
 *   "Manually import boot disks": `tar --format=oldgnu -Sczf`).
 * - azure: a fixed VHD of a whole number of MiB, at least 20, with the footer on top (Azure,
 *   "Prepare Linux for imaging"; `uploadSizeBytes` of the REST API counts the footer).
 * - aws: the disk's bytes (VM Import, `import-snapshot` with format RAW, or EBS direct APIs).
 */
export const DISK_TARGETS: Readonly<Record<DiskTarget, Form>> = {
  qemu: { extension: '.raw', write: writeSparse },
  gcp: { extension: '.tar.gz', write: (file, disk) => writeStream(file, storedGzip(sparseTar(disk))) },
  azure: { extension: '.vhd', write: (file, disk) => writeSparse(file, fixedVhd(disk, utf8(disk.table.id))) },
  aws: { extension: '.raw', write: writeSparse },
};

/**
 * Writes the file, whole or not at all. Zeros are holes if the file system has them.
 * @throws ImageError `output-failed`
 */
export async function writeDisk(disk: DiskImage, target: DiskTarget, path: string): Promise<void> {
  const partial = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    await using file = await open(partial, 'wx', 0o644);
    await DISK_TARGETS[target].write(file, disk);
    await file.sync();
    await rename(partial, path);
  } catch (cause) {
    // If the folder does not exist, there is nothing to remove.
    await rm(partial, { force: true }).catch(() => {});
    throw new ImageError('output-failed', `cannot write ${path}`, { cause });
  }
}

async function writeSparse(file: FileHandle, { size, extents }: SparseFile): Promise<void> {
  await file.truncate(size);
  for (const { at, bytes } of extents) await writeAll(file, bytes, at);
}

/** Small pieces are gathered: a write for each would take longer than the disk. */
async function writeStream(file: FileHandle, pieces: Iterable<Uint8Array>): Promise<void> {
  let at = 0;
  let waiting: Uint8Array[] = [];
  let length = 0;
  const flush = async (): Promise<void> => {
    await writeAll(file, Buffer.concat(waiting), at);
    at += length;
    [waiting, length] = [[], 0];
  };
  for (const piece of pieces) {
    waiting.push(piece);
    length += piece.length;
    if (length >= 2 ** 22) await flush();
  }
  await flush();
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
}
