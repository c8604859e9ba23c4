/** Confidential VMs: reports through configfs-tsm. */

export { openTsmPlatform } from './platform.ts';
export { TsmDevice, TsmError, type TsmErrorCode, type TsmReport, type TsmTree } from './report.ts';
