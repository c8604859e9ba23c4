/** The hardware of this machine, as Linux shows it. */

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { mountConfigfs } from './linux/index.ts';
import type { HardwareSources } from './platform.ts';
import { openTpmDevice } from './tpm/index.ts';
import { readTdReport, TsmDevice } from './tsm/index.ts';

const TPM = '/dev/tpmrm0';
const RTMR3 = '/sys/class/misc/tdx_guest/measurements/rtmr3:sha384';
const CCEL = '/sys/firmware/acpi/tables/data/CCEL';

/** Looks for a TPM, and for reports through configfs, whose module must be loaded. @throws LinuxError, TsmError, TpmError */
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
      eventLogArea: async () => (existsSync(CCEL) ? readFile(CCEL) : null),
    },
  };
}
