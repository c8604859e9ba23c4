/**
 * Fixed virtual hard disks (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0): the
 * disk, then a footer.
 */
import { labelled } from '@enclaim/attestation/digest';
import { SECTOR, type SparseFile, sparseFile } from './sparse.ts';

/** Azure takes a fixed VHD whose disk is a whole number of MiB; the footer comes on top of that. */
const UNIT = 2 ** 20;
const FIXED = 2;
const MAX_SECTORS = 65_535 * 16 * 255;

/**
 * The file that Azure imports. The creator is "win " on "Wi2k", as Hyper-V writes it. With another
 * creator, some readers take the size from the geometry, which cannot express it.
 *
 * @param seed bytes that the VHD's own id is derived from
 * @throws RangeError if the disk is no whole number of MiB
 */
export function fixedVhd(disk: SparseFile, seed: Uint8Array): SparseFile {
  if (disk.size % UNIT !== 0) throw new RangeError(`disk of ${disk.size} bytes`);
  return sparseFile(disk.size + SECTOR, [...disk.extents, { at: disk.size, bytes: footer(disk.size, seed) }]);
}

function footer(size: number, seed: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(SECTOR);
  const { cylinders, heads, sectorsOfTrack } = geometry(size / SECTOR);
  bytes.write('conectix', 0, 'latin1');
  bytes.writeUInt32BE(2, 8); // features: the bit that is always set
  bytes.writeUInt32BE(0x00010000, 12);
  bytes.writeBigUInt64BE(2n ** 64n - 1n, 16); // no dynamic header
  bytes.writeUInt32BE(0, 24); // the year 2000
  bytes.write('win ', 28, 'latin1');
  bytes.writeUInt32BE(0x000a0000, 32);
  bytes.write('Wi2k', 36, 'latin1');
  bytes.writeBigUInt64BE(BigInt(size), 40);
  bytes.writeBigUInt64BE(BigInt(size), 48);
  bytes.writeUInt16BE(cylinders, 56);
  bytes.writeUInt8(heads, 58);
  bytes.writeUInt8(sectorsOfTrack, 59);
  bytes.writeUInt32BE(FIXED, 60);
  bytes.set(labelled('vhd', seed).subarray(0, 16), 68);
  const sum = bytes.reduce((total, byte) => total + byte, 0); // with the field zero
  bytes.writeUInt32BE(~sum >>> 0, 64);
  return bytes;
}

/** The specification's appendix, "CHS Calculation". */
function geometry(sectors: number): { cylinders: number; heads: number; sectorsOfTrack: number } {
  const total = Math.min(sectors, MAX_SECTORS);
  const [heads, sectorsOfTrack] = total >= 65_535 * 16 * 63 ? [16, 255] : smallGeometry(total);
  return { cylinders: Math.floor(Math.floor(total / sectorsOfTrack) / heads), heads, sectorsOfTrack };
}

function smallGeometry(total: number): [number, number] {
  const heads = Math.max(4, Math.ceil(Math.floor(total / 17) / 1024));
  if (Math.floor(total / 17) < heads * 1024 && heads <= 16) return [heads, 17];
  return Math.floor(total / 31) < 16 * 1024 ? [16, 31] : [16, 63];
}
