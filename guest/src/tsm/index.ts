/** Confidential VMs: reports through configfs-tsm. */

export { TsmDevice, TsmError, type TsmErrorCode, type TsmReport, type TsmTree } from './report.ts';
export { readTdReport } from './td-report.ts';
