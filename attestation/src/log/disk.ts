/** The disk of a log: its format, and reading a log that stands on one. */

export { auditLog, type KnownTree, type LogAudit, type LogFault } from './audit-log.ts';
export {
  BLOCK_HEAD_BYTES,
  type Block,
  type BlockSection,
  blockLength,
  ENTRY_PREFIX_BYTES,
  parseBlock,
  type ReadSection,
  SEAL_SECTION,
  SECTION_PREFIX_BYTES,
  STATE_SECTION,
  sealBlock,
  sectionsLength,
  writeBlockHead,
} from './block.ts';
export { BootsOnDisk, type DiskBoot, type DiskBoots, type IdleQuote, MAX_DISK_BOOTS } from './boots-on-disk.ts';
export type { ExpandedTile } from './expanded-tile.ts';
export type { FullTile, GrowingTree } from './growing-tree.ts';
export { decodeHeir, encodeHeir, HEIR_BYTES, type Heir, heirsOn } from './heir.ts';
export { endOf, JOURNAL_BEGIN, type Journal, type JournalEnd } from './journal.ts';
export {
  beganWith,
  encodeKeptQuote,
  encodeQuoteSection,
  type KeptQuote,
  maxQuoteBytes,
  parseKeptQuote,
  QUOTE_SECTION,
  type QuotedBoot,
  quotedBoot,
  quoteIn,
} from './kept-quote.ts';
export {
  HASH_BYTES,
  hashesAt,
  type LogLayout,
  logLayout,
  MIN_LOG_BYTES,
  offsetOf,
  PLACE_BYTES,
  SECTOR_BYTES,
  SUPERBLOCK_SPACING_BYTES,
  sectors,
  TILE_BYTES,
  TILE_HASHES,
  TILE_LEVELS,
  untilRingEnd,
} from './layout.ts';
export { LogDisk, type ReadDisk } from './log-disk.ts';
export { type LogOnDisk, openLog } from './read-log.ts';
export { type FoundLog, findLog } from './recover.ts';
export {
  type ClearSlotHead,
  epochsOn,
  MAX_SLOT_BLOB_BYTES,
  parseSlotHead,
  SLOT_BLOB_AT,
  SLOT_HEAD_BYTES,
  SLOT_MAGIC,
  SLOT_VERSION,
} from './slot-head.ts';
export { StoredLog } from './stored-log.ts';
export { encodeSuperblock, type Superblock, WRITER_BYTES } from './superblock.ts';
export { treeRoot } from './tree-nodes.ts';
