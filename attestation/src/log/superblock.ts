/**
 * Superblocks of a log's disk: where a boot begins to read. Two take turns, so that one is whole
 * after a crash while the other was written.
 */

import { concat, equalBytes, Reader, setU64be, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { HASH_BYTES, SECTOR_BYTES } from './layout.ts';

const MAGIC = utf8('ENCLLOG\0');
const VERSION = 3;
/** Bytes under the superblock's own hash. */
const HASHED_BYTES = SECTOR_BYTES - HASH_BYTES;
/** Bytes of a writer's id. */
export const WRITER_BYTES = 16;

/** A superblock. Positions are those of the journal. */
export interface Superblock {
  /** One more than the other's. Its last bit says in which of the two places it stands. */
  readonly sequence: number;
  /** Bytes of the disk, from which the layout follows. */
  readonly capacity: number;
  /** Lowest index whose record is still held. */
  readonly minimum: number;
  /** Position of the block that holds this record: what lies before it may be overwritten. */
  readonly start: number;
  /** Records whose hashes, up to the root, and places stand at their addresses. */
  readonly size: number;
  /** Position of the block with the last of these records; 0 if there is none. */
  readonly position: number;
  /** This block's hash; zeros if there is none. */
  readonly block: Uint8Array;
  /** Random id of the boot that wrote this. */
  readonly writer: Uint8Array;
}

/** A superblock's sector. */
export function encodeSuperblock(it: Superblock): Uint8Array {
  const out = new Uint8Array(SECTOR_BYTES);
  out.set(MAGIC);
  out[11] = VERSION;
  const numbers = [it.sequence, it.capacity, it.minimum, it.start, it.size, it.position];
  numbers.forEach((number, i) => {
    setU64be(out, 16 + 8 * i, number);
  });
  out.set(concat(it.block, it.writer), 16 + 8 * numbers.length);
  out.set(sha256(out.subarray(0, HASHED_BYTES)), HASHED_BYTES);
  return out;
}

/**
 * The superblock of a sector.
 *
 * **Trust**: its hash shows that it was written whole, not who wrote it: the disk is the host's.
 * @throws DecodeError
 */
export function parseSuperblock(sector: Uint8Array): Superblock {
  const reader = new Reader(sector);
  if (!equalBytes(reader.take(MAGIC.length), MAGIC)) throw new DecodeError('magic', 'not a superblock', 0);
  // Before the version: a flipped bit is no other format.
  // layer: hash of a superblock
  if (!equalBytes(sector.subarray(HASHED_BYTES), sha256(sector.subarray(0, HASHED_BYTES)))) {
    throw new DecodeError('canonical', 'a superblock whose hash is another', HASHED_BYTES);
  }
  const version = reader.u32be();
  if (version !== VERSION) throw new DecodeError('version', `a log of version ${version}, and not ${VERSION}`, 8);
  reader.zeros(4, 'reserved field of a superblock');
  const number = (): number => safeNumber(reader);
  const [sequence, capacity, minimum] = [number(), number(), number()];
  const [start, size, position] = [number(), number(), number()];
  const [block, writer] = [reader.take(HASH_BYTES), reader.take(WRITER_BYTES)];
  reader.zeros(HASHED_BYTES - (sector.length - reader.left), 'rest of a superblock');
  reader.skip(HASH_BYTES); // Compared above.
  reader.end('superblock');
  if (minimum > size || start > position) throw new DecodeError('range', 'a superblock that holds nothing', 32);
  return { sequence, capacity, minimum, start, size, position, block, writer };
}

/** A number of 64 bits that JavaScript has exactly. @throws DecodeError `range` */
export function safeNumber(reader: Reader): number {
  const { at } = reader;
  const number = Number(reader.u64be());
  if (!Number.isSafeInteger(number)) throw new DecodeError('range', `${number} is above 2^53 - 1`, at);
  return number;
}
