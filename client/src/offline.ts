/** The entry point for browsers: verification that needs no connection and no Node. */

export { parseReceiptFile, type ReceiptFile, type VerifiedReceiptFile, verifyReceiptFile } from './receipt-file.ts';
export { type SavedOptions, verifySaved } from './saved.ts';
