/**
 * The launch digest of an SEV-SNP guest (AMD 56860, section 8.17, SNP_LAUNCH_UPDATE), computed from
 * what is launched.
 */

import { digest } from '#crypto';
import { concat, utf8 } from '../bytes.ts';
import type { Sha256, Sha384 } from '../digest.ts';
import { AppraisalError } from '../errors.ts';
import { parseGuid } from '../guid.ts';
import {
  FIRMWARE_GUID,
  type Firmware,
  PAGE,
  parseFirmware,
  type SevSection,
  sevSections,
  structureU32,
} from './ovmf.ts';
import { svsmVmsaPage, type VmsaInput, vmsaPage } from './snp-vmsa.ts';

/**
 * The parts of a firmware image that a launch digest needs; small enough to travel as a reference
 * value.
 */
export interface SnpFirmware {
  /** The digest after the firmware's own pages, 48 bytes. */
  readonly digest: Uint8Array;
  readonly sections: readonly SevSection[];
  /** Address at which processors other than the first start. */
  readonly resetEip: number;
  /**
   * Address at which the firmware looks for the hashes of kernel, initrd and command line;
   * undefined if it does not look.
   */
  readonly hashesTable: number | undefined;
}

/**
 * A kernel that the launcher hands to the firmware, which checks it against the hashes that are
 * measured.
 */
export interface DirectBoot {
  /** SHA-256 of the kernel as the launcher hands it over. */
  readonly kernel: Uint8Array;
  /** SHA-256 of the initrd; of no bytes if there is none. */
  readonly initrd: Uint8Array;
  /** Without the NUL that is hashed with it. */
  readonly commandLine: string;
}

/** A launch. */
export interface SnpLaunch extends VmsaInput {
  readonly vcpus: number;
  readonly direct?: DirectBoot;
}

/** PAGE_TYPE of SNP_LAUNCH_UPDATE (table 68). */
const PAGE_TYPE = { normal: 1, vmsa: 2, zero: 3, unmeasured: 4, secrets: 5, cpuid: 6 } as const;
const PAGE_INFO_LENGTH = 0x70;
const VMSA_GPA = 0xffff_ffff_f000;
const NO_CONTENTS = new Uint8Array(48);
const MAX_VCPUS = 4096;

/** The digest before anything is measured. */
const SEED = new Uint8Array(48) as Sha384;

/** The digest being built, one page after the other. */
class LaunchContext {
  #digest: Uint8Array;

  constructor(seed: Uint8Array = SEED) {
    this.#digest = seed;
  }

  get digest(): Sha384 {
    return this.#digest as Sha384;
  }

  /** Measures pages with contents. */
  async pages(type: 'normal' | 'vmsa', gpa: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; at += PAGE) {
      const contents = await digest('sha384', bytes.subarray(at, at + PAGE));
      await this.#update(PAGE_TYPE[type], gpa + at, contents);
    }
  }

  /** Measures pages whose contents the digest does not see. */
  async blank(type: 'zero' | 'unmeasured' | 'secrets' | 'cpuid', gpa: number, size: number = PAGE): Promise<void> {
    for (let at = 0; at < size; at += PAGE) await this.#update(PAGE_TYPE[type], gpa + at, NO_CONTENTS);
  }

  /**
   * PAGE_INFO: digest so far, contents, length, type, then flags of an image migration and of
   * VMPLs, which stay zero.
   */
  async #update(type: number, gpa: number, contents: Uint8Array): Promise<void> {
    const info = new Uint8Array(PAGE_INFO_LENGTH);
    const view = new DataView(info.buffer);
    info.set(this.#digest, 0);
    info.set(contents, 48);
    view.setUint16(96, PAGE_INFO_LENGTH, true);
    view.setUint8(98, type);
    view.setBigUint64(104, BigInt(gpa), true);
    this.#digest = await digest('sha384', info);
  }
}

/** Describes a firmware image for launch digests. @throws DecodeError */
export async function describeSnpFirmware(bytes: Uint8Array): Promise<SnpFirmware> {
  const firmware = parseFirmware(bytes);
  const context = new LaunchContext();
  await context.pages('normal', firmware.gpa, bytes);
  return { digest: context.digest, ...layoutOf(firmware) };
}

function layoutOf(firmware: Firmware): Omit<SnpFirmware, 'digest'> {
  const { structures } = firmware;
  const table = structures.has(FIRMWARE_GUID.hashesTable) ? structureU32(firmware, FIRMWARE_GUID.hashesTable) : 0;
  const resetEip = structureU32(firmware, FIRMWARE_GUID.resetBlock);
  return { sections: sevSections(firmware), resetEip, hashesTable: table === 0 ? undefined : table };
}

/**
 * The launch digest: firmware, then its sections in order, then one VMSA page for each processor.
 * @throws AppraisalError `references` if a kernel is given and the firmware would not check it, or
 * for a number of processors that no guest has.
 */
export async function snpLaunchDigest(firmware: SnpFirmware, launch: SnpLaunch): Promise<Sha384> {
  const { direct, vmm } = launch;
  checkVcpus(launch.vcpus);
  if (direct !== undefined && !firmware.sections.some(({ kind }) => kind === 'kernelHashes')) {
    throw new AppraisalError('references', 'the firmware has no measured place for the hashes of a kernel');
  }
  const hashes = direct === undefined ? undefined : await hashesPage(firmware, direct);
  const context = new LaunchContext(firmware.digest);
  for (const section of firmware.sections) await measureSection(context, section, launch, hashes);
  if (vmm === 'ec2') {
    for (const { kind, gpa } of firmware.sections) if (kind === 'cpuid') await context.blank('cpuid', gpa);
  }
  for (let vcpu = 0; vcpu < launch.vcpus; vcpu++) {
    await context.pages('vmsa', VMSA_GPA, vmsaPage(launch, vcpu === 0 ? undefined : firmware.resetEip));
  }
  return context.digest;
}

async function measureSection(
  context: LaunchContext,
  { kind, gpa, size }: SevSection,
  { vmm }: Pick<SnpLaunch, 'vmm'>,
  hashes: Uint8Array | undefined,
): Promise<void> {
  switch (kind) {
    case 'secMem':
      return context.blank(vmm === 'gce' ? 'unmeasured' : 'zero', gpa, size);
    case 'svsmCaa':
      return context.blank('zero', gpa, size);
    case 'secrets':
      return context.blank('secrets', gpa);
    case 'cpuid':
      // EC2 measures it after all other sections.
      return vmm === 'ec2' ? undefined : context.blank('cpuid', gpa);
    case 'kernelHashes':
      return hashes === undefined ? context.blank('zero', gpa, size) : context.pages('normal', gpa, hashes);
  }
}

/**
 * The launch digest of a guest whose processors start in an SVSM, with OVMF beside it
 * (coconut-svsm's QEMU).
 * @param variablesSize Bytes between the SVSM and the firmware, where variables are kept.
 */
export async function snpSvsmLaunchDigest(
  firmware: Uint8Array,
  svsm: Uint8Array,
  launch: { readonly vcpus: number; readonly cpuSignature: number; readonly variablesSize: number },
): Promise<Sha384> {
  checkVcpus(launch.vcpus);
  const ovmf = parseFirmware(firmware);
  const service = parseFirmware(svsm, ovmf.gpa - launch.variablesSize);
  const context = new LaunchContext();
  await context.pages('normal', ovmf.gpa, firmware);
  await context.pages('normal', service.gpa, svsm);
  for (const section of sevSections(service)) await measureSection(context, section, { vmm: 'qemu' }, undefined);
  const page = svsmVmsaPage(launch.cpuSignature, service.gpa + structureU32(service, FIRMWARE_GUID.svsmInfo));
  for (let vcpu = 0; vcpu < launch.vcpus; vcpu++) await context.pages('vmsa', VMSA_GPA, page);
  return context.digest;
}

/**
 * The SHA-256 launch digest of SEV (no `processors`) and SEV-ES guests, which came before SNP.
 * Neither is a platform of ours. The digest is computed so that a verifier recognises such
 * evidence.
 * @throws DecodeError; AppraisalError `references` as `snpLaunchDigest`.
 */
export async function sevLaunchDigest(
  firmware: Uint8Array,
  launch: { readonly direct?: DirectBoot; readonly processors?: Omit<SnpLaunch, 'direct'> },
): Promise<Sha256> {
  const layout = layoutOf(parseFirmware(firmware));
  const parts = [firmware];
  if (launch.direct !== undefined) {
    if (layout.hashesTable === undefined) {
      throw new AppraisalError('references', 'the firmware does not look for the hashes of a kernel');
    }
    parts.push(await hashesTable(launch.direct));
  }
  const { processors } = launch;
  checkVcpus(processors?.vcpus ?? 1);
  for (let vcpu = 0; processors !== undefined && vcpu < processors.vcpus; vcpu++) {
    parts.push(vmsaPage(processors, vcpu === 0 ? undefined : layout.resetEip));
  }
  return (await digest('sha256', concat(...parts))) as Sha256;
}

/** The hashes table's entries, in QEMU's order (target/i386/sev.c). */
const TABLE_GUID = '9438d606-4f22-4cc9-b479-a793d411fd21';
const ENTRY_GUIDS = {
  commandLine: '97d02dd8-bd20-4c94-aa78-e7714d36ab2a',
  initrd: '44baf731-3a2f-4bd7-9af1-41e29169781d',
  kernel: '4de79437-abd2-427f-b835-d5b172d2045b',
} as const;

async function hashesTable({ kernel, initrd, commandLine }: DirectBoot): Promise<Uint8Array> {
  const hashes = { kernel, initrd, commandLine: await digest('sha256', utf8(`${commandLine}\0`)) };
  const entries = (Object.keys(ENTRY_GUIDS) as (keyof typeof ENTRY_GUIDS)[]).map((name) =>
    framed(ENTRY_GUIDS[name], hashes[name]),
  );
  const table = framed(TABLE_GUID, concat(...entries));
  return concat(table, new Uint8Array(-table.length & 15));
}

/** GUID, u16 length of the whole, contents. */
function framed(guid: string, contents: Uint8Array): Uint8Array {
  const length = 16 + 2 + contents.length;
  return concat(parseGuid(guid), Uint8Array.of(length & 0xff, length >> 8), contents);
}

async function hashesPage({ hashesTable: gpa }: SnpFirmware, direct: DirectBoot): Promise<Uint8Array> {
  const table = await hashesTable(direct);
  const offset = (gpa ?? PAGE) % PAGE;
  if (gpa === undefined || offset + table.length > PAGE) {
    throw new AppraisalError('references', 'the firmware does not look for the hashes of a kernel in one page');
  }
  const page = new Uint8Array(PAGE);
  page.set(table, offset);
  return page;
}

function checkVcpus(vcpus: number): void {
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new AppraisalError('references', `${vcpus} virtual processors`);
  }
}
