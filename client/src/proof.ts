/** Proofs: the way of one record to a quote of the hardware, waited for, saved and verified. */

export { isProofFile, proofFile, verifyProofFile } from './proof-file.ts';
export { type ProveOptions, prove, proveRecord, type ReceiptProof } from './prove.ts';
export { provenReceiptFile } from './receipt-file.ts';
