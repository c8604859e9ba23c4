/** Receipts (RFC 9942) and statements (RFC 9943) of transparency logs, in COSE. */

export {
  type CoseReceipt,
  encodeCoseReceipt,
  MAX_COSE_RECEIPT_BYTES,
  parseCoseReceipt,
  type ReceiptCompanion,
  type ReceiptProof,
  rootOfReceipt,
  verifyCoseReceipt,
} from './receipt.ts';
export { keyThumbprint, type NamedTree, treeMessage } from './signed-tree.ts';
export {
  encodeStatement,
  MAX_STATEMENT_BYTES,
  parseStatement,
  type SignedStatement,
  type StatementContent,
  statementMessage,
  verifyStatement,
} from './statement.ts';
