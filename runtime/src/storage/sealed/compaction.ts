/**
 * Compaction: values that lie where the log has no records any more are sealed anew at its end, so
 * that the space in front of them can be used again.
 */

import { setImmediate as turn } from 'node:timers/promises';
import { RefusalError } from '../../errors.ts';
import type { RecordLog } from '../../log/record-log.ts';
import type { Extent, IndexedPlace, IndexTable } from './index-table.ts';
import type { ReadValue, SealedCollection } from './sealed-collection.ts';
import { sealedBytes } from './seals.ts';

/** Rows that are looked at in one turn of the loop. */
const SLICE_ROWS = 256;
/** Values that are sealed anew in one block. */
const MOVED_BYTES = 128 * 1024;
/** Values that are moved in one pass over the table; an eighth of them if that is more. */
const PASS_BYTES = 1024 * 1024;
const MOST_PASSES = 8;
/** Bytes of a value in its frame beside its key and what is sealed: three numbers and a key. */
const MOVE_BYTES = 96;
/** Bytes of a block with a frame, at most, beside what is moved. */
const BLOCK_BYTES = 2624;

/** Live values of a stretch of the journal, as they would be moved. */
interface Stretch {
  readonly number: number;
  /** Position of the first block with one of them. */
  readonly begin: number;
  /** Bytes that moving them writes, but for blocks around them. */
  bytes: number;
}

type Log = Pick<RecordLog, 'wanted' | 'end' | 'left' | 'mostCarried' | 'carryLate'>;

/**
 * Moves the oldest values, as far as that gives more room than it takes.
 *
 * **Bound**: it takes room of calls, at most half of what they have. Room that is kept for the
 * runtime's own records is not for this: a disk without it boots no more.
 */
export async function compact(log: Log, table: IndexTable, kept: readonly SealedCollection[]): Promise<void> {
  const below = log.wanted;
  if (table.oldest >= below) return;
  const { stretches, collections } = await stretchesOf(log, table, below);
  const most = Math.min(MOVED_BYTES, log.mostCarried / 4);
  const moved = movedOf(stretches, { below, room: log.left / 2, most, collections });
  const mover = new Mover(log, kept, most);
  try {
    for (const pass of passesOf(moved)) {
      const numbers = new Set(pass.map(({ number }) => number));
      for await (const places of slices(table))
        for (const each of places)
          if (each.place.value !== undefined && numbers.has(table.extentOf(each.place.value.position)))
            await mover.move(each);
      await mover.flush();
    }
  } catch (error) {
    // Calls took the room meanwhile: what is not moved stays where it is.
    if (!(error instanceof RefusalError) || error.code !== 'log') throw error;
  } finally {
    mover.wipe();
  }
}

/** Stretches with live values that begin below a position, oldest first. */
async function stretchesOf(
  log: Log,
  table: IndexTable,
  below: number,
): Promise<{ readonly stretches: readonly Stretch[]; readonly collections: number }> {
  // Where the log ends, values are moved to.
  const end = table.extentOf(log.end.position);
  const isLow = ([number, { block }]: readonly [number, Extent]): boolean => number < end && block < below;
  const low = [...table.extents].filter(isLow).map(([number, { block: begin }]) => ({ number, begin, bytes: 0 }));
  const byNumber = new Map(low.map((each) => [each.number, each]));
  const collections = new Set<number>();
  for await (const places of slices(table))
    for (const { collection, key, place } of places) {
      const stretch = place.value && byNumber.get(table.extentOf(place.value.position));
      if (stretch === undefined || place.value === undefined) continue;
      stretch.bytes += MOVE_BYTES + Buffer.byteLength(JSON.stringify(key)) + sealedBytes(place.value.length);
      collections.add(collection);
    }
  return { stretches: low.sort((a, b) => a.begin - b.begin), collections: collections.size };
}

/** Bytes that moving may take, and those of its blocks. */
interface Bounds {
  readonly below: number;
  readonly room: number;
  /** Bytes of values in a block. */
  readonly most: number;
  readonly collections: number;
}

/**
 * The oldest stretches whose move gives most room beyond what it takes; none if no move gives any.
 *
 * **Bound**: without this, a disk that is full of what lives would be written anew with each epoch.
 */
export function movedOf(stretches: readonly Stretch[], { below, room, most, collections }: Bounds): readonly Stretch[] {
  const oldest = stretches[0]?.begin ?? below;
  let [bytes, count, best] = [0, 0, 0];
  for (const [i, stretch] of stretches.entries()) {
    bytes += stretch.bytes;
    const passes = bytes > PASS_BYTES ? MOST_PASSES + 1 : 1;
    // Two blocks of a collection that follow each other have more than one could.
    const taken = bytes + BLOCK_BYTES * (Math.floor((2 * bytes) / most) + passes * collections);
    if (taken > room) break;
    const gain = Math.min(below, stretches[i + 1]?.begin ?? below) - oldest - taken;
    if (gain > best) [best, count] = [gain, i + 1];
  }
  return stretches.slice(0, count);
}

/** Stretches in the passes in which they are moved, oldest first. */
function passesOf(stretches: readonly Stretch[]): Stretch[][] {
  const most = Math.max(PASS_BYTES, stretches.reduce((sum, { bytes }) => sum + bytes, 0) / MOST_PASSES);
  const passes: Stretch[][] = [];
  let left = 0;
  for (const stretch of stretches) {
    if (passes.length === 0 || left <= 0) {
      passes.push([]);
      left = most;
    }
    passes.at(-1)?.push(stretch);
    left -= stretch.bytes;
  }
  return passes;
}

/** All places of a table, some in each turn. */
async function* slices(table: IndexTable): AsyncGenerator<readonly IndexedPlace[]> {
  let after: IndexedPlace | undefined;
  while (true) {
    const places = table.places(after, SLICE_ROWS);
    yield places;
    const last = places.at(-1);
    if (last === undefined || places.length < SLICE_ROWS) return;
    after = last;
    await turn();
  }
}

/** Seals values anew, those of one collection in one block. */
class Mover {
  readonly #log: Log;
  readonly #kept: readonly SealedCollection[];
  readonly #most: number;
  #batch = new Map<string, ReadValue>();
  #bytes = 0;
  #of = -1;

  constructor(log: Log, kept: readonly SealedCollection[], most: number) {
    this.#log = log;
    this.#kept = kept;
    this.#most = most;
  }

  async move({ collection, key, place }: IndexedPlace): Promise<void> {
    if (place.value === undefined) return;
    const { length, position } = place.value;
    if (collection !== this.#of || this.#bytes + length > this.#most) await this.flush();
    this.#of = collection;
    // A value that the host has changed stays, and holds its space.
    const bytes = await this.#kept[collection]?.valueAt(key, place).catch(() => undefined);
    if (bytes === undefined) return;
    this.#bytes += length;
    this.#batch.set(key, { bytes, from: position });
  }

  async flush(): Promise<void> {
    const [collection, values] = [this.#kept[this.#of], this.#batch];
    [this.#batch, this.#bytes] = [new Map(), 0];
    if (collection === undefined || values.size === 0) return;
    try {
      await this.#log.carryLate(collection.moving(values));
    } finally {
      wipe(values);
    }
  }

  wipe(): void {
    wipe(this.#batch);
    this.#batch.clear();
  }
}

function wipe(values: ReadonlyMap<string, ReadValue>): void {
  for (const { bytes } of values.values()) bytes.fill(0);
}
