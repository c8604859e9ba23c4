/**
 * Commit blocks of a log's journal: the records of one write. A block checks itself and names the
 * one before, so that a torn write, a block of another time and a block of another place are seen.
 */

import { equalBytes, Reader, setU64be, u32be, utf8 } from '../bytes.ts';
import { sha256 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { HASH_BYTES, MAX_BLOCK_BYTES, sectors } from './layout.ts';
import { safeNumber } from './superblock.ts';

const MAGIC = utf8('ENCLBLK\0');
/** Bytes before the frontier. */
export const BLOCK_HEAD_BYTES = 80;
/** Bytes before each entry: its length. */
export const ENTRY_PREFIX_BYTES = 2;

/** Bytes before each section: its type and length. */
export const SECTION_PREFIX_BYTES = 6;
/** Type of a section with sealed changes of stored state, which its writer alone can read. */
export const STATE_SECTION = 2;
/** Type of the section that seals a block of a boot with sealed state. */
export const SEAL_SECTION = 3;

/** A part of a block that belongs to its records, and stands or falls with them. */
export interface BlockSection {
  /**
   * 1 to 65535. 1 is a quote of an earlier boot (kept-quote.ts), 2 is sealed state; no other is in
   * use yet.
   */
  readonly type: number;
  readonly data: Uint8Array;
}

/** A section as it was read. */
export interface ReadSection extends BlockSection {
  /** Offset of its data in the block. */
  readonly at: number;
}

/** A block's head. */
export interface BlockHead {
  /** Bytes up to the end of its hash. */
  readonly length: number;
  /** Number of entries. */
  readonly count: number;
  /** Its place in the journal, which only grows: a ring has it at this number modulo its length. */
  readonly position: number;
  /** Index of its first entry. */
  readonly first: number;
  /** Size of the log after its last entry. */
  readonly size: number;
  /** Hash of the block before it; zeros for the first. */
  readonly prior: Uint8Array;
  /** Sequence of the newest superblock when it was written, so that none can be taken back. */
  readonly sequence: number;
}

/** A block that checks. */
export interface Block extends BlockHead {
  /** Hashes of the complete subtrees that the log consists of after this block, largest first. */
  readonly frontier: readonly Uint8Array[];
  readonly entries: readonly Uint8Array[];
  readonly sections: readonly ReadSection[];
  readonly hash: Uint8Array;
}

/** Complete subtrees of a tree of `size` leaves: one for each bit of it. */
export function frontierCount(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

/** Bytes of a block up to the end of its hash. */
export function blockLength(size: number, entryBytes: number, sectionBytes = 0): number {
  return BLOCK_HEAD_BYTES + HASH_BYTES * frontierCount(size) + entryBytes + sectionBytes + HASH_BYTES;
}

/** Bytes of sections, with type and length before each. */
export function sectionsLength(sections: readonly BlockSection[]): number {
  return sections.reduce((sum, { data }) => sum + SECTION_PREFIX_BYTES + data.length, 0);
}

/** Writes a block's head and frontier. Entries, each after its length, begin at the result. */
export function writeBlockHead(out: Uint8Array, head: BlockHead, frontier: readonly Uint8Array[]): number {
  out.set(MAGIC);
  out.set(u32be(head.length), 8);
  out.set(u32be(head.count), 12);
  setU64be(out, 16, head.position);
  setU64be(out, 24, head.first);
  setU64be(out, 32, head.size);
  out.set(head.prior, 40);
  setU64be(out, 72, head.sequence);
  let at = BLOCK_HEAD_BYTES;
  for (const hash of frontier) {
    out.set(hash, at);
    at += HASH_BYTES;
  }
  return at;
}

/** Writes the hash of a block of `length` bytes, and zeros behind it. Returns the hash. */
export function sealBlock(out: Uint8Array, length: number): Uint8Array {
  const hash = sha256(out.subarray(0, length - HASH_BYTES));
  out.set(hash, length - HASH_BYTES);
  out.fill(0, length);
  return hash;
}

/**
 * Reads the head of what stands at a position.
 *
 * **Bound**: its length is at most {@link MAX_BLOCK_BYTES}.
 * @throws DecodeError
 */
export function parseBlockHead(bytes: Uint8Array, position: number): BlockHead {
  const reader = new Reader(bytes);
  if (!equalBytes(reader.take(MAGIC.length), MAGIC)) throw new DecodeError('magic', 'not a block', 0);
  const [length, count] = [reader.u32be(), reader.u32be()];
  const [at, first, size] = [safeNumber(reader), safeNumber(reader), safeNumber(reader)];
  const prior = reader.take(HASH_BYTES);
  const sequence = safeNumber(reader);
  // layer: position of a block
  if (at !== position) throw new DecodeError('range', `a block of position ${at} at position ${position}`, 16);
  if (size !== first + count) throw new DecodeError('range', `${count} entries from ${first} to ${size}`, 32);
  const least = blockLength(size, count * ENTRY_PREFIX_BYTES);
  if (/* layer: length of a block */ sectors(length) > MAX_BLOCK_BYTES || length < least) {
    throw new DecodeError('range', `a block of ${length} bytes, at least ${least} are expected`, 8);
  }
  return { length, count, position, first, size, prior, sequence };
}

/**
 * Reads the block at a position; bytes behind it are left alone.
 *
 * **Trust**: its hash shows that it was written whole, not who wrote it.
 * @throws DecodeError
 */
export function parseBlock(bytes: Uint8Array, position: number): Block {
  const head = parseBlockHead(bytes, position);
  const whole = new Reader(bytes).take(sectors(head.length));
  const body = new Reader(whole.subarray(0, head.length));
  body.skip(BLOCK_HEAD_BYTES);
  const end = head.length - HASH_BYTES;
  const hash = sha256(whole.subarray(0, end));
  // layer: hash of a block
  if (!equalBytes(whole.subarray(end, head.length), hash)) {
    throw new DecodeError('canonical', 'a block whose hash is another', end);
  }
  new Reader(whole.subarray(head.length), head.length).zeros(whole.length - head.length, 'padding of a block');
  const frontier = Array.from({ length: frontierCount(head.size) }, () => body.take(HASH_BYTES));
  const entries: Uint8Array[] = [];
  for (let i = 0; i < head.count; i++) {
    entries.push(body.take(body.u16be()));
    if (body.left < HASH_BYTES) throw new DecodeError('truncated', 'an entry in the hash of its block', body.at);
  }
  return { ...head, frontier, entries, sections: parseSections(body), hash };
}

/** The sections between a block's entries and its hash. @throws DecodeError */
function parseSections(body: Reader): ReadSection[] {
  const sections: ReadSection[] = [];
  while (body.left > HASH_BYTES) {
    const type = body.u16be();
    if (type === 0) throw new DecodeError('reserved', 'a section of type 0', body.at);
    const length = body.u32be();
    const { at } = body;
    const data = body.take(length);
    if (body.left < HASH_BYTES) throw new DecodeError('truncated', 'a section in the hash of its block', body.at);
    sections.push({ type, data, at });
  }
  return sections;
}
