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
export type { CheckedReceipt } from './receipt-call.ts';
export {
  parseReceiptFile,
  type ReceiptFile,
  receiptFile,
  type VerifiedReceiptFile,
  verifyReceiptFile,
} from './receipt-file.ts';
export { type SavedOptions, verifySaved } from './saved.ts';
export type { Answer, AnswerStream, CallOptions, MethodClient, Requests, ServiceClient } from './service-client.ts';
