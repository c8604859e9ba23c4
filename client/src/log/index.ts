/** The log of a machine: read, copied and proved by its own rules. */

export type { LogBoot } from '../later-boots.ts';
export { type BootsOptions, readBoots, readLaterBoots } from './boots.ts';
export type { ReceiptOf, ReceiptSource } from './cose-receipt.ts';
export { LogError, type LogErrorCode } from './log-error.ts';
export { type CopiedLog, copiedEntries, copiedInclusion, copyLog, receiptFrom, seenIn } from './log-folder.ts';
export {
  type LogEntry,
  LogReader,
  type LogReaderOptions,
  type ReaderKey,
  type SeenLog,
  type VerifiedCheckpoint,
} from './log-reader.ts';
export { type VerifiedCoseReceipt, verifyCoseReceiptFile } from './saved-receipt.ts';
