/**
 * A FAT32 volume that holds one file (Microsoft, "FAT: General Overview of On-Disk Format" 1.03).
 */
import { ImageError } from '../errors.ts';
import { type Extent, roundUp, SECTOR, wholeSectors } from './sparse.ts';

/**
 * Path at which firmware looks for a boot loader on a disk that it has no boot entry for (UEFI
 * 2.10, 3.5.1.1).
 */
const PATH = ['EFI        ', 'BOOT       ', 'BOOTX64 EFI'] as const;

const RESERVED = 32;
const BACKUP_BOOT = 6;
const MEBIBYTE = 2048; // sectors
const ENTRY = 32;
const PER_SECTOR = SECTOR / 4;
/**
 * Fewest clusters: with fewer, a volume is FAT16 by definition. The margin is for readers that
 * count inexactly.
 */
const MIN_CLUSTERS = 65_525 + 16;
const MAX_FILE = 2 ** 30;
const DIRECTORY = 0x10;
const ARCHIVE = 0x20;
const END = 0x0fff_ffff;
/** 1 January 1980: the oldest time that FAT can name, and the same for every file. */
const DATE = 0x0021;

/** A volume. */
export interface FatVolume {
  /** Whole mebibytes, in sectors. */
  readonly sectors: number;
  /** Relative to its start. */
  readonly extents: readonly Extent[];
}

/**
 * The volume of an EFI system partition whose one file is the boot loader. A cluster is one sector.
 * @param hidden sectors before the volume on its disk
 * @param serial volume serial number
 * @throws ImageError `too-large` above 1 GiB, and if it is empty
 */
export function bootVolume(loader: Uint8Array, { hidden, serial }: { hidden: number; serial: number }): FatVolume {
  if (loader.length === 0 || loader.length > MAX_FILE)
    throw new ImageError('too-large', `boot loader of ${loader.length} bytes, expected 1 to ${MAX_FILE}`);
  const clusters = Math.ceil(loader.length / SECTOR);
  const { sectors, fatSectors } = geometry(PATH.length + clusters);
  const dataAt = RESERVED + 2 * fatSectors;
  const boot = bootSectors({ sectors, fatSectors, hidden, serial, free: sectors - dataAt - PATH.length - clusters });
  const fat = wholeSectors(allocationTable(clusters));
  // The root directory is cluster 2, each folder the one after its parent, the file comes last.
  const directories = PATH.map((name, depth) => {
    const attribute = depth === PATH.length - 1 ? ARCHIVE : DIRECTORY;
    const child = entry(name, attribute, depth + 3, attribute === ARCHIVE ? loader.length : 0);
    const parent = depth === 1 ? 0 : depth + 1; // the root is written as 0
    const dots =
      depth === 0 ? [] : [entry('.          ', DIRECTORY, depth + 2, 0), entry('..         ', DIRECTORY, parent, 0)];
    return wholeSectors(Buffer.concat([...dots, child]));
  });
  const extents = [
    { at: 0, bytes: boot },
    { at: BACKUP_BOOT, bytes: boot },
    { at: RESERVED, bytes: fat },
    { at: RESERVED + fatSectors, bytes: fat },
    { at: dataAt, bytes: Buffer.concat(directories) },
    { at: dataAt + PATH.length, bytes: wholeSectors(loader) },
  ];
  return { sectors, extents: extents.map(({ at, bytes }) => ({ at: at * SECTOR, bytes })) };
}

/** The smallest volume of whole mebibytes with room for `used` clusters. */
function geometry(used: number): { sectors: number; fatSectors: number } {
  const clusters = Math.max(used, MIN_CLUSTERS);
  for (let sectors = roundUp(clusters, MEBIBYTE); ; sectors += MEBIBYTE) {
    // Two tables of f sectors and n clusters fill the volume: n + 2 entries of 4 bytes fit if
    // sectors − 30 ≤ 130 f.
    const fatSectors = Math.ceil((sectors - RESERVED + 2) / (PER_SECTOR + 2));
    if (sectors - RESERVED - 2 * fatSectors >= clusters) return { sectors, fatSectors };
  }
}

/** Boot sector and FSInfo. */
function bootSectors(volume: {
  sectors: number;
  fatSectors: number;
  hidden: number;
  serial: number;
  free: number;
}): Uint8Array {
  const bytes = Buffer.alloc(2 * SECTOR);
  bytes.set([0xeb, 0x58, 0x90]); // a jump over this table, which is never taken
  bytes.write('MSWIN4.1', 3, 'latin1'); // the name that the specification recommends
  bytes.writeUInt16LE(SECTOR, 11);
  bytes.writeUInt8(1, 13); // sectors of a cluster
  bytes.writeUInt16LE(RESERVED, 14);
  bytes.writeUInt8(2, 16); // tables
  bytes.writeUInt8(0xf8, 21); // fixed disk
  bytes.writeUInt16LE(32, 24); // sectors of a track and heads: unused, but tools divide by them
  bytes.writeUInt16LE(64, 26);
  bytes.writeUInt32LE(volume.hidden, 28);
  bytes.writeUInt32LE(volume.sectors, 32);
  bytes.writeUInt32LE(volume.fatSectors, 36);
  bytes.writeUInt32LE(2, 44); // root directory
  bytes.writeUInt16LE(1, 48); // FSInfo
  bytes.writeUInt16LE(BACKUP_BOOT, 50);
  bytes.writeUInt8(0x80, 64);
  bytes.writeUInt8(0x29, 66);
  bytes.writeUInt32LE(volume.serial, 67);
  bytes.write('NO NAME    FAT32   ', 71, 'latin1');
  bytes.writeUInt16LE(0xaa55, 510);
  bytes.write('RRaA', SECTOR, 'latin1');
  bytes.write('rrAa', SECTOR + 484, 'latin1');
  bytes.writeUInt32LE(volume.free, SECTOR + 488);
  bytes.writeUInt32LE(0xffff_ffff, SECTOR + 492); // where to look for free clusters: unknown
  bytes.writeUInt16LE(0xaa55, SECTOR + 510);
  return bytes;
}

/** Directories of one cluster each, then the file in one run. */
function allocationTable(clusters: number): Uint8Array {
  const first = 2 + PATH.length;
  const table = new Uint32Array(first + clusters);
  table.set([0x0fff_fff8, END, ...PATH.map(() => END)]);
  for (let i = 0; i < clusters; i++) table[first + i] = i === clusters - 1 ? END : first + i + 1;
  const bytes = Buffer.alloc(table.length * 4);
  for (const [index, value] of table.entries()) bytes.writeUInt32LE(value, index * 4);
  return bytes;
}

function entry(name: string, attribute: number, cluster: number, size: number): Uint8Array {
  const bytes = Buffer.alloc(ENTRY);
  bytes.write(name, 0, 'latin1');
  bytes.writeUInt8(attribute, 11);
  for (const at of [16, 18, 24]) bytes.writeUInt16LE(DATE, at);
  bytes.writeUInt16LE(cluster >>> 16, 20);
  bytes.writeUInt16LE(cluster & 0xffff, 26);
  bytes.writeUInt32LE(size, 28);
  return bytes;
}
