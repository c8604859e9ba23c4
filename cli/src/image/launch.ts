/**
 * Launches of an image, as `enclaim image measure` describes them: from files, for each platform.
 */
import { type DigestText, digestText, type HashName, parseDigest } from '@enclaim/attestation/digest';
import {
  launchCommandLine,
  launchRtmrEvents,
  policyEvents,
  predictPcrs,
  qemuCpuSignature,
  readUki,
  rtmrOf,
  type Vmm,
} from '@enclaim/attestation/measure';
import type { SnpReference } from '@enclaim/attestation/references';
import {
  directFiles,
  type SnpParts,
  snpFirmwareReference,
  snpLaunchDigests,
  snpParts,
  type TdxParts,
  tdxFirmwareReference,
  tdxParts,
  tdxReference,
} from '@enclaim/image';
import { readInput } from '../input.ts';
import { floorsOf, keys } from '../snp-references.ts';
import { UsageError } from '../usage-error.ts';
import { readImageFolder } from './folder.ts';

export type LaunchPlatform = 'tpm' | 'snp' | 'tdx';

/** Options that describe a launch, as the command line has them. */
export interface LaunchOptions {
  readonly uki?: string;
  readonly firmware?: string;
  readonly boot?: 'kernel' | 'disk';
  readonly commandLine?: string;
  readonly embedded?: true;
  readonly firmwareDigest?: string;
  readonly vcpus?: readonly string[];
  readonly cpu?: string;
  readonly vmm?: Vmm;
  readonly features?: string;
  readonly tcbFloors?: string;
  readonly idKey?: readonly string[];
  readonly authorKey?: readonly string[];
  readonly memory?: string;
  readonly acpiTables?: string;
  readonly initrdWord?: 'first' | 'last';
}

/** The app that is launched. */
export interface App {
  readonly policy: DigestText<'sha384'>;
  readonly bundle: DigestText<'sha384'>;
}

/** A measured value by name. */
export interface Measurement {
  readonly name: string;
  readonly digest: DigestText<HashName>;
}

/** A launch: the document that is printed, and its measurements if an app is given. */
export interface Launch {
  readonly document: object;
  readonly measurements: readonly Measurement[] | null;
}

/**
 * Describes a launch on each platform.
 * @throws UsageError, DecodeError, AppraisalError, ImageError
 */
export const LAUNCHES: Readonly<
  Record<LaunchPlatform, (folder: string, options: LaunchOptions, app: App | null) => Promise<Launch>>
> = { tpm: tpmLaunch, snp: snpLaunch, tdx: tdxLaunch };

async function tpmLaunch(folder: string, options: LaunchOptions, app: App | null): Promise<Launch> {
  const { uki, boot = 'kernel', commandLine: given, embedded } = options;
  const image =
    uki === undefined ? (await readImageFolder(folder)).manifest.references.tpm : await readUki(await readInput(uki));
  if (app === null) return { document: { image }, measurements: null };
  const commandLine = embedded ? null : (given ?? launchCommandLine(image, app.policy));
  const registers = [...predictPcrs(image, { boot, commandLine, ...app })].map(
    ([index, value]) => [index, digestText('sha256', value)] as const,
  );
  return {
    document: { image, boot, commandLine, ...app, registers: Object.fromEntries(registers) },
    measurements: registers.map(([index, digest]) => ({ name: `pcr${index}`, digest })),
  };
}

/**
 * Describes a launch under SEV-SNP. `snp` in the document is a section of a references file.
 * Without --tcb-floors, that section lacks the floors. If a cloud boots a disk, the launch digest
 * covers firmware and processors, and a vTPM the image.
 */
async function snpLaunch(folder: string, options: LaunchOptions, app: App | null): Promise<Launch> {
  const parts = await snpPartsOf(folder, options);
  const machine = snpMachine(options);
  const measured = (digests: Readonly<Record<string, DigestText<'sha384'>>>): Measurement[] =>
    Object.entries(digests).map(([count, digest]) => ({ name: `launch-digest vcpus=${count}`, digest }));
  if (machine.vmm !== 'qemu') {
    if (app !== null) throw new UsageError(`--bundle means nothing with --vmm ${machine.vmm}, which boots a disk`);
    const launchDigests = await snpLaunchDigests(parts, machine, null);
    return { document: { firmware: parts.firmware, ...machine, launchDigests }, measurements: measured(launchDigests) };
  }
  const reference = {
    ...parts,
    ...machine,
    ...(options.tcbFloors === undefined ? {} : { floors: await floorsOf(options.tcbFloors) }),
    idKeys: keys(options.idKey ?? []),
    authorKeys: keys(options.authorKey ?? []),
  };
  if (app === null) return { document: { snp: [reference] }, measurements: null };
  const commandLine = launchCommandLine(parts, app.policy);
  const launchDigests = await snpLaunchDigests(parts, machine, app.policy);
  return {
    document: { snp: [reference], commandLine, ...app, launchDigests },
    measurements: measured(launchDigests),
  };
}

function snpMachine({
  vcpus = [],
  cpu = 'EPYC-v4',
  vmm = 'qemu',
  features = '1',
}: LaunchOptions): Pick<SnpReference, 'vcpus' | 'vmm' | 'cpuSignature' | 'features'> {
  return {
    vcpus: vcpus.length === 0 ? [2] : vcpus.map((count) => positive('--vcpus', count)),
    vmm,
    cpuSignature: qemuCpuSignature(cpu) ?? hexadecimal('--cpu', cpu, 'a model such as EPYC-v4, or '),
    features: hexadecimal('--features', features),
  };
}

async function tdxLaunch(folder: string, options: LaunchOptions, app: App | null): Promise<Launch> {
  const { memory = '1024', acpiTables, initrdWord = 'first' } = options;
  const reference = tdxReference(await tdxPartsOf(folder, options), {
    memoryMiB: positive('--memory', memory),
    acpiTables: acpiTables === undefined ? null : await readInput(acpiTables),
    initrdWord,
  });
  if (app === null) return { document: { tdx: [reference] }, measurements: null };
  const { commandLineStart = '', commandLineEnd } = reference;
  const commandLine = `${commandLineStart}${launchCommandLine(reference, app.policy)}${commandLineEnd}`;
  const { mrtd, rtmr0, rtmr1, initrd, rtmr3 } = reference;
  const registers = {
    mrtd,
    rtmr0: typeof rtmr0 === 'string' ? rtmr0 : null,
    rtmr1: typeof rtmr1 === 'string' ? rtmr1 : null,
    rtmr2: digestText('sha384', rtmrOf(launchRtmrEvents(commandLine, initrd))),
    rtmr3: digestText('sha384', rtmrOf(rtmr3 === 'zero' ? [] : policyEvents(app.policy, app.bundle))),
  };
  const measurements = Object.entries(registers).flatMap(([name, digest]) =>
    digest === null ? [] : [{ name, digest }],
  );
  return { document: { tdx: [reference], commandLine, ...app, registers }, measurements };
}

async function snpPartsOf(folder: string, options: LaunchOptions): Promise<SnpParts> {
  const parts = await builtSnpParts(folder, options);
  const { firmwareDigest } = options;
  if (firmwareDigest === undefined) return parts;
  return {
    ...parts,
    firmware: { ...parts.firmware, digest: digestText('sha384', parseDigest('sha384', firmwareDigest)) },
  };
}

async function builtSnpParts(folder: string, { uki, firmware }: LaunchOptions): Promise<SnpParts> {
  if (uki === undefined) {
    const { snp } = (await readImageFolder(folder)).manifest.references;
    return firmware === undefined ? snp : { ...snp, firmware: await snpFirmwareReference(await readInput(firmware)) };
  }
  const bytes = await readInput(uki);
  return snpParts(await readUki(bytes), directFiles(bytes), await readFirmware(firmware));
}

async function tdxPartsOf(folder: string, { uki, firmware }: LaunchOptions): Promise<TdxParts> {
  if (uki === undefined) {
    const { tdx } = (await readImageFolder(folder)).manifest.references;
    return firmware === undefined ? tdx : { ...tdx, firmware: await tdxFirmwareReference(await readInput(firmware)) };
  }
  const bytes = await readInput(uki);
  return tdxParts(await readUki(bytes), directFiles(bytes), await readFirmware(firmware));
}

async function readFirmware(path: string | undefined): Promise<Uint8Array> {
  if (path === undefined) throw new UsageError('--uki needs --firmware: there is no manifest that describes one');
  return readInput(path);
}

function positive(option: string, given: string): number {
  if (!/^[1-9]\d{0,8}$/.test(given)) throw new UsageError(`${option} ${given}: expected a whole number`);
  return Number(given);
}

function hexadecimal(option: string, given: string, expected = ''): number {
  if (!/^(0x)?[0-9a-f]{1,8}$/i.test(given)) throw new UsageError(`${option} ${given}: expected ${expected}hex digits`);
  return Number.parseInt(given, 16);
}
