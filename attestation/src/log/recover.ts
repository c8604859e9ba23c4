/**
 * Finding the end of a log on its disk: from a superblock, else from the first block that there is.
 * The first block that does not check ends the log; nothing else repairs a torn write.
 */

import { equalBytes, fromUtf8, toHex } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { leafHash } from '../merkle.ts';
import { type Block, parseBlockHead } from './block.ts';
import { ExpandedTile } from './expanded-tile.ts';
import { GrowingTree } from './growing-tree.ts';
import { endOf, JOURNAL_BEGIN, type Journal, type JournalEnd } from './journal.ts';
import { hashesAt, SECTOR_BYTES, TILE_HASHES, TILE_LEVELS } from './layout.ts';
import type { LogDisk } from './log-disk.ts';
import { oldestBlock } from './scan.ts';
import type { Superblock } from './superblock.ts';

/** Bytes that are read at once while blocks are followed. */
const AHEAD_BYTES = 1024 * 1024;
/** Bytes that are looked at together for what a write in flight has left. */
const PIECE_BYTES = 64 * 1024;
/** Records after which it is looked which tiles of theirs the disk has. */
const RELEASED_RECORDS = 16_384;

/** A log as it was found. */
export interface FoundLog {
  readonly tree: GrowingTree;
  readonly end: JournalEnd;
  /** Lowest index whose record is held. */
  readonly minimum: number;
  /** Position of the block that holds it. */
  readonly start: number;
  /** Size up to which tiles and places stand at their addresses. */
  readonly settled: number;
  /** Places of the tiles that begin behind that size, by tile. */
  readonly places: Map<number, number>;
  /** The last block; null if there is none. */
  readonly last: Block | null;
  /** The last block with a record; null if none was followed, nor named by the superblock. */
  readonly recorded: Block | null;
  /** Sequence of the newest superblock that there was. */
  readonly sequence: number;
  /** Whether something was written behind the end that does not continue the log. */
  readonly discarded: boolean;
}

/** Where following begins. */
interface Base {
  readonly tree: GrowingTree;
  readonly end: JournalEnd;
  readonly minimum: number;
  readonly start: number;
  readonly last: Block | null;
  readonly superblock: Superblock | null;
  /** Whether tiles and places of what lies before stand at their addresses. */
  readonly settled: number;
}

/**
 * The log on a disk. A disk of zeros holds the empty one.
 *
 * @param onBlock hears of every block that was followed
 * @param onRestart called where blocks from index 0 on were followed, and another chain has more
 * records: what was heard of so far is no part of the log
 * @throws DecodeError `version` for a log of an earlier format; `range` for a log that was made for
 * a disk of another size; `canonical` if what is left does not make a tree
 */
export async function findLog(
  disk: LogDisk,
  onBlock: (block: Block) => void = () => {},
  onRestart: () => void = () => {},
): Promise<FoundLog> {
  const superblocks = await disk.superblocks();
  if (superblocks.every((each) => each instanceof DecodeError)) {
    for (const each of superblocks) if (each instanceof DecodeError && each.code === 'version') throw each;
    await refuseChain(disk);
  }
  const known = superblocks.filter((each): each is Superblock => !(each instanceof DecodeError));
  for (const superblock of known.toSorted((one, other) => other.sequence - one.sequence)) {
    if (superblock.capacity !== disk.layout.capacity) {
      throw new DecodeError('range', `a log of ${superblock.capacity} bytes on ${disk.layout.capacity}`, 24);
    }
    const base = await baseOf(disk, superblock);
    if (base !== undefined) return followed(disk, base, onBlock);
  }
  const lost = known.length > 0 || superblocks.some((each) => each instanceof DecodeError && each.code !== 'magic');
  return searched(disk, lost, onBlock, onRestart);
}

/** Refuses a disk of the first format: `u32 length ‖ record`, one behind the other. */
async function refuseChain(disk: LogDisk): Promise<void> {
  const begin = await disk.bytes(4, 9);
  if (
    begin.every((byte) => byte < 0x80) &&
    /* layer: the first format is refused (off: false) */ fromUtf8(begin) === '{"basis":'
  ) {
    throw new DecodeError('version', 'a log of the first format, a chain of records, which is not continued', 0);
  }
}

/** Where a superblock leads to; undefined if not to a block and tiles that fit each other. */
async function baseOf(disk: LogDisk, superblock: Superblock): Promise<Base | undefined> {
  const { minimum, start, size } = superblock;
  if (size === 0) return { ...EMPTY, tree: new GrowingTree(), superblock };
  try {
    const last = await disk.journal(AHEAD_BYTES).block(superblock.position);
    if (last.size !== size || !equalBytes(last.hash, superblock.block)) return undefined;
    const tree = await treeAt(disk, last);
    return { tree, end: endOf(last), minimum, start, last, superblock, settled: size };
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

const EMPTY = { end: JOURNAL_BEGIN, minimum: 0, start: 0, last: null, superblock: null, settled: 0 } as const;

/** The tree after a block: its edge from the disk, held against the block's frontier. */
export async function treeAt(disk: LogDisk, { size, frontier }: Block): Promise<GrowingTree> {
  const edge: (ExpandedTile | undefined)[] = [];
  for (let level = 0; level < TILE_LEVELS; level++) {
    const hashes = hashesAt(level, size);
    const width = hashes % TILE_HASHES;
    const tile = Math.floor(hashes / TILE_HASHES);
    edge.push(width === 0 ? undefined : ExpandedTile.of(await disk.tile(level, tile, width)));
  }
  return GrowingTree.at(size, edge, frontier);
}

/**
 * The log where no superblock leads to it: from index 0, or from the oldest block of a ring that
 * went round.
 *
 * **Cost**: a log that never went round is read once. What it was followed over is not searched.
 * @param isLost whether the whole ring is searched although nothing stands at its begin
 */
async function searched(
  disk: LogDisk,
  isLost: boolean,
  onBlock: (block: Block) => void,
  onRestart: () => void,
): Promise<FoundLog> {
  const found = await followed(disk, { ...EMPTY, tree: new GrowingTree() }, onBlock);
  const journal = disk.journal(AHEAD_BYTES);
  const begin = await journal.bytes(0, SECTOR_BYTES);
  if (begin.every((byte) => byte === 0) && !isLost) return found;
  const oldest = await oldestBlock(disk.layout, journal, found.end);
  if (oldest === undefined || oldest.first === 0) return found;
  onRestart();
  const { first, position, size } = oldest;
  const tree = await treeAt(disk, oldest);
  const base = { ...EMPTY, tree, end: endOf(oldest), minimum: first, start: position, last: oldest, settled: size };
  return followed(disk, base, onBlock);
}

/** Follows blocks to the end of the log. */
async function followed(disk: LogDisk, base: Base, onBlock: (block: Block) => void): Promise<FoundLog> {
  const { tree, minimum, start, superblock, settled } = base;
  const journal = disk.journal(AHEAD_BYTES);
  const places = new Map<number, number>();
  let { end, last } = base;
  let recorded = recordedIn(last, null);
  let released = tree.size;
  for (let block = await nextOf(journal, end); block !== undefined; block = await nextOf(journal, end)) {
    for (const [i, entry] of block.entries.entries()) {
      const index = block.first + i;
      if (index % TILE_HASHES === 0) places.set(index / TILE_HASHES, block.position);
      tree.append(leafHash(entry));
    }
    tree.frontier().forEach((hash, i) => {
      // layer: tree of the last blocks (off: true)
      if (equalBytes(hash, block?.frontier[i] ?? new Uint8Array())) return;
      throw new DecodeError(
        'canonical',
        `the block at ${end.position} has another tree: ${toHex(hash)} is its own`,
        80,
      );
    });
    onBlock(block);
    end = endOf(block);
    last = block;
    recorded = recordedIn(block, recorded);
    if (tree.size - released < RELEASED_RECORDS) continue;
    await release(disk, tree);
    released = tree.size;
  }
  const discarded = await isWritten(disk, end);
  const sequence = Math.max(superblock?.sequence ?? 0, last?.sequence ?? 0);
  return { tree, end, minimum, start, settled, places, last, recorded, sequence, discarded };
}

/** A block, if it has a record, else another one. */
function recordedIn(block: Block | null, other: Block | null): Block | null {
  return block !== null && block.entries.length > 0 ? block : other;
}

/**
 * Lets go of tiles that the disk has.
 *
 * **Bound**: without this, all tiles of a log that is followed from its begin would be in memory.
 */
async function release(disk: LogDisk, tree: GrowingTree): Promise<void> {
  for (const { level, index, tile } of tree.full())
    if (equalBytes(tile.hashes(), await disk.tile(level, index, TILE_HASHES))) tree.release(level, index);
}

/** The block that continues an end, if one does. */
async function nextOf(journal: Journal, end: JournalEnd): Promise<Block | undefined> {
  try {
    return await journal.next(end);
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

/**
 * Whether a sector that a write in flight may have reached holds a block of this place, or anything
 * at all where the ring has not come to yet.
 */
export async function isWritten(disk: LogDisk, { position }: JournalEnd): Promise<boolean> {
  const { journal, maxBlock } = disk.layout;
  const reader = disk.journal(AHEAD_BYTES);
  const ringEnd = position - (position % journal.length) + journal.length;
  const end = Math.min(position + maxBlock, ringEnd);
  for (let at = position; at < end; at += PIECE_BYTES) {
    const piece = await reader.bytes(at, Math.min(PIECE_BYTES, end - at));
    if (at < journal.length ? !isZero(piece) : hasBlockOf(piece, at)) return true;
  }
  return isBlockOf(await disk.journal(SECTOR_BYTES).bytes(ringEnd, SECTOR_BYTES), ringEnd);
}

/** **Cost**: a boot looks at all bytes of a block. A call for each took four times as long. */
function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** Whether a sector of a piece holds a block of its place. */
function hasBlockOf(piece: Uint8Array, position: number): boolean {
  for (let at = 0; at < piece.length; at += SECTOR_BYTES)
    if (isBlockOf(piece.subarray(at, at + SECTOR_BYTES), position + at)) return true;
  return false;
}

function isBlockOf(sector: Uint8Array, position: number): boolean {
  try {
    parseBlockHead(sector, position);
    return true;
  } catch {
    return false;
  }
}
