/** The hardware of this machine, as Linux shows it. */

import { existsSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { mountConfigfs } from '../linux/index.ts';
import { openTpmDevice } from '../tpm/index.ts';
import { readTdReport, TsmDevice } from '../tsm/index.ts';
import type { HardwareSources } from './open.ts';

const TPM = '/dev/tpmrm0';
const RTMR3 = '/sys/class/misc/tdx_guest/measurements/rtmr3:sha384';
const CCEL = '/sys/firmware/acpi/tables/data/CCEL';
/**
 * Most bytes of the event log's area. **Bound**: the table says how large the area is, and may not
 * decide how much of the guest's memory is used.
 */
const MAX_AREA_BYTES = 1 << 20;

/**
 * Looks for a TPM, and for reports through configfs, whose module must be loaded.
 * @throws LinuxError, TsmError, TpmError
 */
export function machineHardware(): HardwareSources {
  return {
    openTpm: async () => (existsSync(TPM) ? openTpmDevice(TPM) : null),
    openTsm: async () => {
      mountConfigfs();
      return TsmDevice.openIfProvided('enclaim');
    },
    tdx: {
      rtmr3: existsSync(RTMR3) ? { extend: (digest) => writeFile(RTMR3, digest) } : null,
      ownReport: async () => readTdReport(),
      eventLogArea: async () => (existsSync(CCEL) ? readStart(CCEL, MAX_AREA_BYTES) : null),
    },
  };
}

/** Reads at most `length` bytes of a file whose size is not known before. */
async function readStart(path: string, length: number): Promise<Uint8Array> {
  await using file = await open(path, 'r');
  const buffer = Buffer.alloc(length);
  for (let held = 0; held < length; ) {
    const { bytesRead } = await file.read(buffer, held, length - held, held);
    if (bytesRead === 0) return buffer.subarray(0, held);
    held += bytesRead;
  }
  return buffer;
}
