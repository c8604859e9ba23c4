/** What verifies without a connection, and without Node: the entry point for browsers. */

export { parseReceiptFile, type ReceiptFile, verifyReceiptFile } from './receipt-file.ts';
export { type SavedOptions, verifySaved } from './saved.ts';
