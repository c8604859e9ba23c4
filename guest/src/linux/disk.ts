/**
 * Block devices by the name that the host gives them: a disk's serial number, or a partition's
 * name.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LinuxError } from './error.ts';

/** A block device. */
export interface Disk {
  /** Its node, such as `/dev/vda` or `/dev/nvme0n1p2`. */
  readonly path: string;
  /** Size in bytes, a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
}

/** The start of a partition's name. */
const PARTITION = 'enclaim-';
const POLL_MS = 5;
const TIMEOUT_MS = 10_000;

/**
 * Returns the one device for `use`, or undefined if there is none: a virtio disk with that serial,
 * or a partition named `enclaim-USE` on a disk of any kind. The kernel has parsed the partition
 * table and shows each name in seven-bit ASCII.
 *
 * **Trust**: the host chooses names and contents. A name only says what to look at, never what it
 * is.
 *
 * @param sysfs Where the block devices are listed; a parameter for tests.
 * @throws LinuxError EEXIST if two devices have that name: the host must not choose which one is
 *   read later.
 */
export function findDisk(use: string, sysfs = '/sys/class/block'): Disk | undefined {
  const attribute = (name: string, file: string): string => readFileSync(join(sysfs, name, file), 'latin1').trim();
  const isNamed = (name: string): boolean =>
    attribute(name, 'uevent').split('\n').includes(`PARTNAME=${PARTITION}${use}`) ||
    (/^vd[a-z]+$/.test(name) && attribute(name, 'serial') === use);
  const found = readdirSync(sysfs)
    .filter(isNamed)
    .map((name) => ({
      path: `/dev/${name}`,
      size: Number(attribute(name, 'size')) * 512,
      readOnly: attribute(name, 'ro') === '1',
    }));
  // layer: one disk of a name
  if (found.length > 1) throw new LinuxError('EEXIST', `find disk ${use}`, `${found.length} devices have this name`);
  return found[0];
}

/**
 * Returns the one device for `use` when it is there: drivers of NVMe and SCSI look for disks in the
 * background.
 *
 * @throws LinuxError ENODEV if it does not appear within ten seconds; EEXIST as {@link findDisk}.
 */
export async function awaitDisk(use: string): Promise<Disk> {
  for (let waited = 0; waited < TIMEOUT_MS; waited += POLL_MS) {
    const disk = findDisk(use);
    // The node comes a moment after the name.
    if (disk !== undefined && existsSync(disk.path)) return disk;
    await sleep(POLL_MS);
  }
  throw new LinuxError(
    'ENODEV',
    `find disk ${use}`,
    `no disk has this serial, no partition the name ${PARTITION}${use}`,
  );
}
