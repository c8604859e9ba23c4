/** Outside: attested channels for grpc-js. */

export { AttestedChannel, type ConnectOptions, connect, verifySaved } from './channel.ts';
export { ChannelError, type ChannelErrorCode, VerdictError } from './errors.ts';
export type { Attestation } from './exchange.ts';
export { type ListenOptions, type RunningProxy, startProxy } from './proxy.ts';
export type { CheckedReceipt } from './receipt-call.ts';
export { parseReceiptFile, type ReceiptFile, receiptFile, verifyReceiptFile } from './receipt-file.ts';
export { describeServices } from './reflection.ts';
