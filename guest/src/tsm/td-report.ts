/** TDREPORT through the guest driver (Linux, include/uapi/linux/tdx-guest.h). */

import { closeSync, openSync } from 'node:fs';
import { TDREPORT_LENGTH } from '@enclaim/attestation/tdx';
import { check, libc } from '../linux/libc.ts';

const DEVICE = '/dev/tdx_guest';
const REPORT_DATA = 64;
/** _IOWR('T', 1, struct tdx_report_req): 64 bytes in, 1024 out. */
const GET_REPORT0 = (3n << 30n) | (BigInt(REPORT_DATA + TDREPORT_LENGTH) << 16n) | (0x54n << 8n) | 1n;

/**
 * The report over zeros, which the TDX module makes and the host never sees.
 * @throws LinuxError, or the file system's error
 */
export function readTdReport(): Uint8Array {
  const device = openSync(DEVICE, 'r+');
  try {
    const request = Buffer.alloc(REPORT_DATA + TDREPORT_LENGTH);
    check(`ioctl ${DEVICE}`, libc().ioctl(device, GET_REPORT0, request));
    return request.subarray(REPORT_DATA);
  } finally {
    closeSync(device);
  }
}
