/** Confidential VMs: reports through configfs-tsm. */

export { openTsmPlatform, type TdxMeasurements } from './platform.ts';
export { TsmDevice, TsmError, type TsmErrorCode, type TsmReport, type TsmTree } from './report.ts';
export { readTdReport } from './td-report.ts';
