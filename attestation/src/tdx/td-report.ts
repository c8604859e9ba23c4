/**
 * TDREPORT: the TDX module's report to a guest of the guest itself (TDX module ABI,
 * TDREPORT_STRUCT), before a quoting enclave signs it.
 */

import { Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import type { TdReport } from './quote.ts';

/** Length of both versions of TDREPORT, whose measurements lie at the same places. */
export const TDREPORT_LENGTH = 1024;
const TYPE_TDX = 0x81;
/** Offset of TDINFO_STRUCT: after MAC structure and TCB information, 256 bytes each. */
const TD_INFO = 512;

/**
 * The configuration and registers of a guest.
 *
 * **Trust**: that of the source of the bytes. Only a quoting enclave can check their MAC.
 */
export type TdMeasurements = Pick<TdReport, 'mrTd' | 'mrConfigId' | 'rtmrs' | 'reportData'>;

/** @throws DecodeError */
export function parseTdReport(bytes: Uint8Array): TdMeasurements {
  if (bytes.length !== TDREPORT_LENGTH) throw new DecodeError('range', `TDREPORT of ${bytes.length} bytes`, 0);
  const reader = new Reader(bytes);
  const type = reader.u8();
  if (type !== TYPE_TDX) throw new DecodeError('version', `report of type 0x${type.toString(16)}`, 0);
  reader.skip(4 - 1 + 12 + 16 + 48 + 48); // the rest of the type, CPU SVN, hashes of the parts
  const reportData = reader.take(64);
  reader.skip(TD_INFO - reader.at + 8 + 8); // attributes, XFAM
  const mrTd = reader.take(48);
  const mrConfigId = reader.take(48);
  reader.skip(2 * 48); // owner, its configuration
  const rtmrs = [reader.take(48), reader.take(48), reader.take(48), reader.take(48)] as const;
  return { mrTd, mrConfigId, rtmrs, reportData };
}
