/**
 * Our own supervisor on a processor in software: everything is as in the guest, but for the reports, which are made in this
 * process. What a client needs of the pretended maker is printed. The word `silicon=` of the command line says which maker.
 */
import { readFileSync } from 'node:fs';
import { describeSnpFirmware, snpLaunchDigest } from '../../attestation/src/measure/index.ts';
import { machineHardware } from '../../guest/src/hardware.ts';
import { neverExit, powerOff } from '../../guest/src/linux/index.ts';
import type { HardwareSources } from '../../guest/src/platform.ts';
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

neverExit(lastWords);
supervise(pretended).catch((reason: unknown) => {
  process.stdout.write(`${lastWords(reason)}\n`);
  powerOff();
});

function pretended(): HardwareSources {
  const text = readFileSync('/proc/cmdline', 'latin1').trimEnd();
  const real = machineHardware();
  const openTsm = async (): Promise<TsmDevice> => {
    // The machine itself has a TPM and no such processor: what looks for one must say so.
    if ((await real.openTsm()) !== null) throw new Error('a machine without silicon has a report tree');
    return TsmDevice.open('enclaim', new FakeTsmTree(await maker()));
  };
  const [maker, tdx] = text.includes(' silicon=snp') ? [() => snp(text), real.tdx] : domain(text);
  return { ...real, openTsm, tdx };
}

async function snp(commandLine: string): Promise<(data: Uint8Array) => TsmReport> {
  const psp = new FakePsp();
  tell({ pins: psp.pins });
  const firmware = await describeSnpFirmware(fakeFirmware());
  const direct = { kernel: KERNEL, initrd: INITRD.sha256, commandLine };
  const measurement = await snpLaunchDigest(firmware, { ...PROCESSOR, features: 1n, vcpus: 2, direct });
  const auxblob = certificateTable({ vcek: psp.leaf, ask: psp.ask, ark: psp.ark, crl: psp.crl() });
  return (reportData) => ({ provider: 'sev_guest', outblob: psp.report({ reportData, measurement }), auxblob });
}

function domain(text: string): [() => Promise<(data: Uint8Array) => TsmReport>, HardwareSources['tdx']] {
  const enclave = new FakeQuotingEnclave();
  const collateral = Object.entries(enclave.collateral()).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? value.toBase64() : value.map((der: Uint8Array) => der.toBase64()),
  ]);
  const td = new FakeTrustDomain(enclave, { mrTd: MRTD, events: bootEvents(text, INITRD.sha384) });
  const maker = async (): Promise<(data: Uint8Array) => TsmReport> => {
    tell({ pins: enclave.pins, collateral: Object.fromEntries(collateral) });
    return (data) => td.report(data);
  };
  return [maker, td.measurements];
}

function tell(makers: object): void {
  for (const part of JSON.stringify(makers).match(/.{1,500}/g) ?? []) process.stdout.write(`silicon:${part}\n`);
  process.stdout.write('silicon:end\n');
}
