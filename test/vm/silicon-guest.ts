/**
 * Our own supervisor on a processor in software: everything is as in the guest, but for the reports, which are made in this
 * process. What a client needs of the pretended maker is printed.
 */
import { readFileSync } from 'node:fs';
import { describeSnpFirmware, snpLaunchDigest } from '../../attestation/src/measure/index.ts';
import { neverExit, powerOff } from '../../guest/src/linux/index.ts';
import { machineHardware } from '../../guest/src/platform/machine.ts';
import type { HardwareSources } from '../../guest/src/platform/open.ts';
import { supervise } from '../../guest/src/supervisor.ts';
import { TsmDevice, type TsmReport } from '../../guest/src/tsm/index.ts';
import { certificateTable, FakeTsmTree } from '../fakes/configfs-tsm.ts';
import { fakeFirmware } from '../fakes/firmware.ts';
import { FakePsp } from '../fakes/psp.ts';
import { FakeQuotingEnclave } from '../fakes/quoting-enclave.ts';
import { bootEvents, FakeTrustDomain } from '../fakes/trust-domain.ts';
import { INITRD, KERNEL, MRTD, PROCESSOR } from './silicon-launch.ts';

const lastWords = (reason: unknown): string =>
  `enclaim: refused: ${reason instanceof Error ? reason.stack?.replaceAll('\n', ' ') : reason}`;

/** Boots as PID 1 on a processor of this kind. */
export function pretend(kind: 'snp' | 'tdx'): void {
  neverExit(lastWords);
  // Its keys take an emulated machine long to make: before the network waits for anything.
  const hardware = kind === 'snp' ? snp() : tdx();
  supervise(hardware).catch((reason: unknown) => {
    process.stdout.write(`${lastWords(reason)}\n`);
    powerOff();
  });
}

type Answer = (data: Uint8Array) => TsmReport;

/** The machine's own hardware, but for reports. It has a TPM and no such processor: what looks for one must say so. */
function reporting(answer: () => Promise<Answer>): HardwareSources {
  const real = machineHardware();
  const openTsm = async (): Promise<TsmDevice> => {
    if ((await real.openTsm()) !== null) throw new Error('a machine without silicon has a report tree');
    return TsmDevice.open('enclaim', new FakeTsmTree(await answer()));
  };
  return { ...real, openTsm };
}

const commandLine = (): string => readFileSync('/proc/cmdline', 'latin1').trimEnd();

function snp(): () => HardwareSources {
  const psp = new FakePsp();
  const answer = async (): Promise<Answer> => {
    tell({ pins: psp.pins });
    const firmware = await describeSnpFirmware(fakeFirmware());
    const direct = { kernel: KERNEL, initrd: INITRD.sha256, commandLine: commandLine() };
    const measurement = await snpLaunchDigest(firmware, { ...PROCESSOR, features: 1n, vcpus: 2, direct });
    const auxblob = certificateTable({ vcek: psp.leaf, ask: psp.ask, ark: psp.ark, crl: psp.crl() });
    return (reportData) => ({ provider: 'sev_guest', outblob: psp.report({ reportData, measurement }), auxblob });
  };
  return () => reporting(answer);
}

function tdx(): () => HardwareSources {
  const enclave = new FakeQuotingEnclave();
  const collateral = Object.entries(enclave.collateral()).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? value.toBase64() : value.map((der: Uint8Array) => der.toBase64()),
  ]);
  return () => {
    const td = new FakeTrustDomain(enclave, { mrTd: MRTD, events: bootEvents(commandLine(), INITRD.sha384) });
    const answer = async (): Promise<Answer> => {
      tell({ pins: enclave.pins, collateral: Object.fromEntries(collateral) });
      return (data) => td.report(data);
    };
    return { ...reporting(answer), tdx: td.measurements };
  };
}

function tell(maker: object): void {
  for (const part of JSON.stringify(maker).match(/.{1,500}/g) ?? []) process.stdout.write(`silicon:${part}\n`);
  process.stdout.write('silicon:end\n');
}
