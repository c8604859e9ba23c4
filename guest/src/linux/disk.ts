/** Block devices by the serial number that the virtual machine's description gives them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LinuxError } from './error.ts';

/** A whole block device. */
export interface Disk {
  /** Its node, such as `/dev/vda`. */
  readonly path: string;
  /** Size in bytes, a multiple of 512. */
  readonly size: number;
  readonly readOnly: boolean;
}

/**
 * The one disk whose serial is `serial`, or undefined where there is none.
 *
 * **Trust**: the host chooses serials and contents; the serial only says what to look at, never what it is.
 *
 * @param sysfs Where the block devices are listed; a parameter for tests.
 * @throws LinuxError EEXIST where two disks have that serial: the host must not choose which one is read later.
 */
export function findDisk(serial: string, sysfs = '/sys/block'): Disk | undefined {
  const attribute = (name: string, file: string) => readFileSync(join(sysfs, name, file), 'latin1').trim();
  const found = readdirSync(sysfs)
    .filter((name) => name.startsWith('vd'))
    .filter((name) => attribute(name, 'serial') === serial)
    .map((name) => ({
      path: `/dev/${name}`,
      size: Number(attribute(name, 'size')) * 512,
      readOnly: attribute(name, 'ro') === '1',
    }));
  if (found.length > 1) throw new LinuxError('EEXIST', `find disk ${serial}`, `${found.length} disks have this serial`);
  return found[0];
}
