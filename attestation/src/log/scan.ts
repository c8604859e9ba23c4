/**
 * Searching a journal without a superblock: the oldest block of the longest chain in its ring.
 */

import { equalBytes, Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { type Block, parseBlock, parseBlockHead } from './block.ts';
import { endOf, JOURNAL_BEGIN, type Journal, type JournalEnd } from './journal.ts';
import { type LogLayout, SECTOR_BYTES, sectors } from './layout.ts';
import { safeNumber } from './superblock.ts';

/** Offset of a block's position in its head. */
const POSITION_AT = 16;
/** Chains of neighbours that are looked at: a log that was never damaged has two. */
const MAX_RUNS = 256;
/**
 * Bytes of blocks that do not check, as a multiple of the journal.
 *
 * **Bound**: a host could have each sector announce a block of a megabyte, all of which would be
 * hashed.
 */
const MAX_UNSOUND = 4;

/** Blocks that lie behind each other and continue each other. */
interface Run {
  readonly position: number;
  readonly first: number;
  readonly prior: Uint8Array;
  end: JournalEnd;
}

/**
 * The first block of the chain with the most records; undefined if there is no block.
 *
 * @param followed end of the chain from index 0 on, if that was followed: it is not read again
 */
export async function oldestBlock(
  layout: LogLayout,
  journal: Journal,
  followed: JournalEnd = JOURNAL_BEGIN,
): Promise<Block | undefined> {
  const runs = await runsOf(layout, journal, followed);
  let best: { readonly oldest: Run; readonly records: number } | undefined;
  for (const run of runs) {
    const before = runs.find(({ end }) => end.size === run.first && equalBytes(end.prior, run.prior) && run.first > 0);
    const oldest = before ?? run;
    const records = run.end.size - oldest.first;
    if (best === undefined || records > best.records) best = { oldest, records };
  }
  return best && (await journal.block(best.oldest.position));
}

/** All runs of a ring, in the order of its bytes. @throws DecodeError `range` */
async function runsOf(layout: LogLayout, journal: Journal, followed: JournalEnd): Promise<Run[]> {
  const runs: Run[] = followed.position === 0 ? [] : [{ ...JOURNAL_BEGIN, first: 0, end: followed }];
  let unsound = 0;
  for (let at = followed.position; at < layout.journal.length; ) {
    const sector = await journal.bytes(at, SECTOR_BYTES);
    const length = lengthOf(sector, at, layout);
    const block = length === undefined ? undefined : await blockAt(journal, at, length);
    if (block === undefined) {
      unsound += length ?? 0;
      // layer: blocks that do not check are counted
      if (unsound > MAX_UNSOUND * layout.journal.length)
        throw new DecodeError('range', 'a journal of blocks that do not check', at);
      at += SECTOR_BYTES;
    } else {
      extend(runs, block);
      at += sectors(block.length);
    }
  }
  return runs;
}

function extend(runs: Run[], block: Block): void {
  const last = runs.at(-1);
  if (last !== undefined && last.end.size === block.first && equalBytes(last.end.prior, block.prior)) {
    last.end = endOf(block);
    return;
  }
  runs.push({ position: block.position, first: block.first, prior: block.prior.slice(), end: endOf(block) });
  if (runs.length <= MAX_RUNS) return;
  const shortest = runs.reduce((one, other) => (recordsOf(other) < recordsOf(one) ? other : one));
  runs.splice(runs.indexOf(shortest), 1);
}

function recordsOf({ first, end }: Run): number {
  return end.size - first;
}

/** Bytes of the block that a sector announces, if its position is one of this place. */
function lengthOf(sector: Uint8Array, at: number, { journal }: LogLayout): number | undefined {
  try {
    const position = safeNumber(new Reader(sector.subarray(POSITION_AT)));
    return position % journal.length === at ? sectors(parseBlockHead(sector, position).length) : undefined;
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}

async function blockAt(journal: Journal, at: number, length: number): Promise<Block | undefined> {
  try {
    const bytes = await journal.bytes(at, length);
    return parseBlock(bytes, safeNumber(new Reader(bytes.subarray(POSITION_AT))));
  } catch (error) {
    if (error instanceof DecodeError) return undefined;
    throw error;
  }
}
