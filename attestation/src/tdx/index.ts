/** TDX: quotes, the platforms that sign them, their patch levels, and demands of a verifier. */

export { appraiseTdx, TDX_CAREFUL, type TdxDemands } from './appraise.ts';
export type { QeIdentity, TcbInfo, TcbStatus, TdxCollateral } from './collateral.ts';
export { MAX_EVENT_LOG_BYTES, type RtmrEventRecord, type RtmrEvents, replayTdxLog, tdxEventLog } from './event-log.ts';
export { type PckPlatform, readPckPlatform } from './pck.ts';
export { parseQuote, quoteLength, type TdReport, type TdReportExtension, type TdxQuote } from './quote.ts';
export type { CurrentStatus, PlatformStatus, TdxTcb } from './tcb.ts';
export { parseTdReport, TDREPORT_LENGTH, type TdMeasurements } from './td-report.ts';
export { type AuthenticatedTdx, type TdxEvidence, verifyTdx } from './verify.ts';
