/** Outside: attested channels for grpc-js. */

export {
  AppraisalError,
  type Check,
  CollateralError,
  DecodeError,
  EvidenceError,
  parseReferences,
  type References,
  type Verdict,
} from '@enclaim/attestation';
export { type Demand, PolicyError, parseDemand } from '@enclaim/policy-schema';
export type { Attestation } from './attestation.ts';
export { CallError, type StatusName } from './call-error.ts';
export { AttestedChannel, type ConnectOptions, connect } from './channel.ts';
export { ChannelError, type ChannelErrorCode, VerdictError } from './errors.ts';
export type { Received } from './handshake.ts';
export { inspect } from './inspect.ts';
export { type BootsOptions, type LogBoot, readBoots } from './log/boots.ts';
export type { ReceiptOf, ReceiptSource } from './log/cose-receipt.ts';
export { LogError, type LogErrorCode } from './log/log-error.ts';
export { type CopiedLog, copyLog, receiptFrom, seenIn } from './log/log-folder.ts';
export {
  type LogEntry,
  LogReader,
  type LogReaderOptions,
  type ReaderKey,
  type SeenLog,
  type VerifiedCheckpoint,
} from './log/log-reader.ts';
export { type VerifiedCoseReceipt, verifyCoseReceiptFile } from './log/saved-receipt.ts';
export { isProofFile, proofFile, verifyProofFile } from './proof-file.ts';
export { type ProveOptions, prove, proveRecord, type ReceiptProof } from './prove.ts';
export { type ListenOptions, type RunningProxy, startProxy } from './proxy/proxy.ts';
export type { CheckedReceipt } from './receipt-call.ts';
export {
  parseReceiptFile,
  type ReceiptFile,
  receiptFile,
  type VerifiedReceiptFile,
  verifyReceiptFile,
} from './receipt-file.ts';
export { describeServices } from './reflection.ts';
export { routeFetches } from './route.ts';
export { type SavedOptions, verifySaved } from './saved.ts';
export type { Answer, AnswerStream, CallOptions, MethodClient, Requests, ServiceClient } from './service-client.ts';
export { type CollateralSource, VendorCollateral, type VendorCollateralOptions } from './vendor-collateral.ts';
