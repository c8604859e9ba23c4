/** A log on a raw disk, for an auditor who holds the disk. */

import type { GrowingTree } from './growing-tree.ts';
import { LogDisk, type ReadDisk } from './log-disk.ts';
import { findLog } from './recover.ts';
import { StoredLog } from './stored-log.ts';
import { treeRoot } from './tree-nodes.ts';

/** Entries that are read at once. */
const ENTRIES_AT_ONCE = 1024;

/** A log as its disk has it. */
export interface LogOnDisk {
  /**
   * Size and root of the tree.
   *
   * **Trust**: on the word of who held the disk. A signed checkpoint or a receipt shows more.
   */
  readonly head: { readonly size: number; readonly root: Uint8Array };
  /** Lowest index whose record the disk still holds. */
  readonly minimum: number;
  /** Whether something was written behind the end that does not continue the log. */
  readonly discarded: boolean;
  /** Tiles, entries and proofs, each held against the tree. */
  readonly stored: StoredLog;
  /** All entries from an index on, in order. */
  entries(first?: number): AsyncGenerator<Uint8Array>;
}

/**
 * Opens the log on a disk as a boot would, without writing to it.
 *
 * @param read bytes of the disk
 * @param capacity its size in bytes
 * @throws DecodeError if it holds none
 */
export async function openLog(read: ReadDisk, capacity: number): Promise<LogOnDisk> {
  const disk = new LogDisk(read, capacity);
  const { tree, places, minimum, start, discarded } = await findLog(disk);
  const stored = new StoredLog(disk, tree, places, () => ({ minimum, start }));
  return {
    head: headOf(tree),
    minimum,
    discarded,
    stored,
    async *entries(first = minimum) {
      for (let at = first; at < tree.size; at += ENTRIES_AT_ONCE)
        yield* await stored.entries(at, Math.min(ENTRIES_AT_ONCE, tree.size - at));
    },
  };
}

function headOf(tree: GrowingTree): LogOnDisk['head'] {
  return { size: tree.size, root: treeRoot(tree.frontier()) };
}
