/**
 * The archive that Compute Engine imports: one sparse member of a tar file in GNU's old format, in
 * a gzip stream.
 */
import { crc32 } from 'node:zlib';
import { roundUp, SECTOR, type SparseFile } from './sparse.ts';

/** The one name that is looked for. */
const MEMBER = 'disk.raw';
/** GNU tar's record: what an archive is a multiple of. */
const RECORD = 20 * SECTOR;
const IN_HEADER = 4;
const IN_EXTENSION = 21;
/** A stored block of deflate (RFC 1951, 3.2.4) holds at most this. */
const STORED = 65_535;

/** The tar file, in pieces; holes take no room in it. */
export function* sparseTar(disk: SparseFile): Generator<Uint8Array> {
  // The last row, of no bytes, says where the file ends.
  const rows = [...disk.extents.map(({ at, bytes }) => [at, bytes.length] as const), [disk.size, 0] as const];
  const held = disk.extents.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const extensions = Math.ceil(Math.max(0, rows.length - IN_HEADER) / IN_EXTENSION);
  yield header(disk.size, held, rows.slice(0, IN_HEADER), extensions > 0);
  for (let i = 0; i < extensions; i++) {
    const block = Buffer.alloc(SECTOR);
    const from = IN_HEADER + i * IN_EXTENSION;
    writeRows(block, 0, rows.slice(from, from + IN_EXTENSION));
    if (i < extensions - 1) block[504] = 1;
    yield block;
  }
  for (const { bytes } of disk.extents) yield bytes;
  const length = SECTOR * (1 + extensions) + held;
  yield Buffer.alloc(roundUp(length + 2 * SECTOR, RECORD) - length);
}

/**
 * A gzip stream (RFC 1952) of stored blocks. The contents of a disk are compressed already. A
 * compressor's output for the rest depends on its version and on the processor; this depends on
 * nothing.
 */
export function* storedGzip(pieces: Iterable<Uint8Array>): Generator<Uint8Array> {
  let [sum, length] = [0, 0];
  yield Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff); // no name, no time, no system
  for (const piece of pieces) {
    sum = crc32(piece, sum);
    length += piece.length;
    for (let at = 0; at < piece.length; at += STORED) {
      const block = piece.subarray(at, at + STORED);
      yield storedHeader(block.length, false);
      yield block;
    }
  }
  yield storedHeader(0, true);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(sum, 0);
  trailer.writeUInt32LE(length % 2 ** 32, 4);
  yield trailer;
}

function storedHeader(length: number, final: boolean): Uint8Array {
  return Uint8Array.of(final ? 1 : 0, length & 0xff, length >>> 8, ~length & 0xff, (~length >>> 8) & 0xff);
}

/** struct oldgnu_header (GNU tar manual, "Basic Tar Format"). */
function header(size: number, held: number, rows: readonly (readonly [number, number])[], extended: boolean): Buffer {
  const bytes = Buffer.alloc(SECTOR);
  bytes.write(MEMBER, 0, 'latin1');
  for (const [at, text] of [
    [100, '0000644'],
    [108, '0000000'],
    [116, '0000000'],
  ] as const)
    bytes.write(text, at, 'latin1');
  writeNumber(bytes, 124, held);
  writeNumber(bytes, 136, 0); // 1970: any time would do, if it is always the same
  bytes.write('S', 156, 'latin1');
  bytes.write('ustar  \0', 257, 'latin1');
  writeRows(bytes, 386, rows);
  if (extended) bytes[482] = 1;
  writeNumber(bytes, 483, size);
  bytes.fill(' ', 148, 156, 'latin1');
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes;
}

function writeRows(bytes: Buffer, from: number, rows: readonly (readonly [number, number])[]): void {
  for (const [index, [at, length]] of rows.entries()) {
    writeNumber(bytes, from + 24 * index, at);
    writeNumber(bytes, from + 24 * index + 12, length);
  }
}

/** Twelve bytes: octal with a NUL, or from 8 GiB on GNU's binary form. */
function writeNumber(bytes: Buffer, at: number, value: number): void {
  if (value < 8 ** 11) {
    bytes.write(`${value.toString(8).padStart(11, '0')}\0`, at, 'latin1');
    return;
  }
  bytes[at] = 0x80;
  bytes.writeBigUInt64BE(BigInt(value), at + 4);
}
