/** Receipts (RFC 9942) and statements (RFC 9943) of transparency logs, in COSE. */

export {
  type CoseReceipt,
  encodeCoseReceipt,
  MAX_COSE_RECEIPT_BYTES,
  parseCoseReceipt,
  type ReceiptCompanion,
  type ReceiptProof,
  verifyCoseReceipt,
} from './receipt.ts';
export { keyThumbprint, type NamedTree, treeMessage } from './signed-tree.ts';
