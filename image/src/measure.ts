/**
 * Measurements of launches on confidential processors: the parts that follow from image and
 * firmware alone, and the reference values that follow from those and a machine. They come from
 * files, without the hardware and without QEMU.
 */
import { createHash } from 'node:crypto';
import { type DigestText, digestText, parseDigest } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  authenticodeDigest,
  type DirectBoot,
  describeSnpFirmware,
  describeTdxFirmware,
  directRtmr0Events,
  directRtmr1Events,
  type ExpectedEvent,
  type ImageReference,
  launchCommandLine,
  parsePe,
  type RtmrEvent,
  rtmrOf,
  type SnpLaunch,
  sectionBytes,
  sectionNamed,
  snpLaunchDigest,
  type TdvfEdition,
  type TdvfRegion,
} from '@enclaim/attestation/measure';
import {
  type RtmrEventReference,
  type SnpReference,
  snpFirmwareSchema,
  type TdxReference,
} from '@enclaim/attestation/references';
import * as z from 'zod';

/** A direct boot under SEV-SNP, but for the policy and the processors. */
export type SnpParts = Pick<SnpReference, 'id' | 'firmware' | 'kernel' | 'initrd' | 'commandLine'>;

/** The parts of a TDVF build that `describeTdxFirmware` finds. */
export interface TdxFirmwareReference {
  readonly mrtd: DigestText<'sha384'>;
  readonly cfv: DigestText<'sha384'>;
  readonly edition: TdvfEdition;
  readonly secureBoot: readonly RtmrEventReference[];
  readonly regions: readonly TdvfRegion[];
}

/** A direct boot under TDX, but for the policy and the machine. */
export interface TdxParts {
  readonly id: DigestText<'sha256'>;
  readonly firmware: TdxFirmwareReference;
  /** Authenticode digest of the kernel, and digest of the initrd. */
  readonly kernel: DigestText<'sha384'>;
  readonly initrd: DigestText<'sha384'>;
  readonly commandLine: string;
}

/** The parts of every platform whose processor measures the launch. */
export interface LaunchParts {
  readonly snp: SnpParts;
  readonly tdx: TdxParts;
}

/** The files that a launcher hands to firmware. */
export interface DirectFiles {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
}

/** The files inside a UKI. @throws DecodeError if it lacks one */
export function directFiles(uki: Uint8Array): DirectFiles {
  const image = parsePe(uki);
  const read = (name: string): Uint8Array => {
    const section = sectionNamed(image, name);
    if (section === undefined) throw new DecodeError('syntax', `no section ${name}`, 0);
    return sectionBytes(image, section);
  };
  return { kernel: read('.linux'), initrd: read('.initrd') };
}

/** The parts of a launch under SEV-SNP. @throws DecodeError for firmware without SEV's tables */
export async function snpParts(
  { id, commandLine }: Pick<ImageReference, 'id' | 'commandLine'>,
  { kernel, initrd }: DirectFiles,
  firmware: Uint8Array,
): Promise<SnpParts> {
  return {
    id,
    firmware: await snpFirmwareReference(firmware),
    kernel: digestOf('sha256', kernel),
    initrd: digestOf('sha256', initrd),
    commandLine,
  };
}

/**
 * The parts of a launch under TDX.
 * @throws DecodeError for firmware without TDX's tables or variables
 */
export async function tdxParts(
  { id, commandLine }: Pick<ImageReference, 'id' | 'commandLine'>,
  { kernel, initrd }: DirectFiles,
  firmware: Uint8Array,
): Promise<TdxParts> {
  return {
    id,
    firmware: await tdxFirmwareReference(firmware),
    kernel: digestText('sha384', await authenticodeDigest(parsePe(kernel), 'sha384')),
    initrd: digestOf('sha384', initrd),
    commandLine,
  };
}

/** An OVMF build as SEV-SNP measures it. @throws DecodeError */
export async function snpFirmwareReference(bytes: Uint8Array): Promise<SnpParts['firmware']> {
  const { digest, sections, resetEip, hashesTable } = await describeSnpFirmware(bytes);
  return { digest: digestText('sha384', digest), sections, resetEip, hashesTable: hashesTable ?? null };
}

/** A TDVF build as TDX measures it. @throws DecodeError */
export async function tdxFirmwareReference(bytes: Uint8Array): Promise<TdxFirmwareReference> {
  const { mrtd, cfv, edition, secureBoot, regions } = await describeTdxFirmware(bytes);
  return {
    mrtd: digestText('sha384', mrtd),
    cfv: digestText('sha384', cfv),
    edition,
    secureBoot: secureBoot.map(eventReference),
    regions,
  };
}

/**
 * Launch digests by number of processors.
 * @param policy - The policy of a direct boot; null if a cloud boots a disk, so that firmware and
 *   processors alone are measured.
 * @throws AppraisalError `references` if there is no such launch
 */
export async function snpLaunchDigests(
  { firmware, kernel, initrd, commandLine }: SnpParts,
  { vcpus, vmm, cpuSignature, features }: Pick<SnpReference, 'vcpus' | 'vmm' | 'cpuSignature' | 'features'>,
  policy: DigestText<'sha384'> | null,
): Promise<Readonly<Record<string, DigestText<'sha384'>>>> {
  const { digest, hashesTable, ...layout } = firmware;
  const known = { ...layout, digest: parseDigest('sha384', digest), hashesTable: hashesTable ?? undefined };
  const direct = (line: string): DirectBoot => ({
    kernel: parseDigest('sha256', kernel),
    initrd: parseDigest('sha256', initrd),
    commandLine: line,
  });
  const launch: Omit<SnpLaunch, 'vcpus'> = {
    vmm,
    cpuSignature,
    features: BigInt(features),
    ...(policy === null ? {} : { direct: direct(launchCommandLine({ commandLine }, policy)) }),
  };
  const digests = vcpus.map(
    async (count) =>
      [String(count), digestText('sha384', await snpLaunchDigest(known, { ...launch, vcpus: count }))] as const,
  );
  return Object.fromEntries(await Promise.all(digests));
}

/** A machine under TDX. */
export interface TdxMachineFiles {
  readonly memoryMiB: number;
  /** QEMU's `etc/acpi/tables`; without them RTMR0 is a list of events, three of them open. */
  readonly acpiTables: Uint8Array | null;
  /** Where this build of OVMF names the initrd in the command line. */
  readonly initrdWord: 'first' | 'last';
}

/**
 * Reference values that a client compares a quote with.
 * @throws DecodeError for ACPI tables that QEMU did not write
 */
export function tdxReference(
  { id, firmware, kernel, initrd, commandLine }: TdxParts,
  { memoryMiB, acpiTables, initrdWord }: TdxMachineFiles,
): TdxReference {
  const known = {
    mrtd: parseDigest('sha384', firmware.mrtd),
    cfv: parseDigest('sha384', firmware.cfv),
    edition: firmware.edition,
    secureBoot: firmware.secureBoot.map(({ name, digest }) => ({
      name,
      digest: digest === 'any' ? null : parseDigest('sha384', digest),
    })),
    regions: firmware.regions,
  };
  const rtmr0 = directRtmr0Events(known, { memory: memoryMiB * 2 ** 20, acpiTables });
  const closed = rtmr0.filter((event): event is RtmrEvent => event.digest !== null);
  return {
    id,
    mrtd: firmware.mrtd,
    rtmr0: closed.length === rtmr0.length ? digestText('sha384', rtmrOf(closed)) : rtmr0.map(eventReference),
    rtmr1: digestText('sha384', rtmrOf(directRtmr1Events(parseDigest('sha384', kernel)))),
    initrd,
    commandLine,
    // OVMF names the initrd to the kernel's stub, which measures the line as it got it. Builds
    // before 2026 do so at its end.
    ...(initrdWord === 'first'
      ? { commandLineStart: 'initrd=initrd ', commandLineEnd: '' }
      : { commandLineEnd: ' initrd=initrd' }),
    // The locked kernel is older than 6.16 and cannot extend the register.
    rtmr3: 'zero',
  };
}

function eventReference({ name, digest }: ExpectedEvent): RtmrEventReference {
  return { name, digest: digest === null ? 'any' : digestText('sha384', digest) };
}

function digestOf<H extends 'sha256' | 'sha384'>(name: H, bytes: Uint8Array): DigestText<H> {
  return digestText(name, createHash(name).update(bytes).digest());
}

const sha256 = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]);
const sha384 = z.templateLiteral(['sha384:', z.string().regex(/^[0-9a-f]{96}$/)]);
const u32 = z.int().min(0).max(0xffff_ffff);
const commandLine = z.string().min(1).max(2048);

/** Shape of launch parts inside a manifest. */
export const launchPartsSchema: Readonly<{ snp: z.ZodType<SnpParts>; tdx: z.ZodType<TdxParts> }> = {
  snp: z.strictObject({
    id: sha256,
    firmware: snpFirmwareSchema,
    kernel: sha256,
    initrd: sha256,
    commandLine,
  }),
  tdx: z.strictObject({
    id: sha256,
    firmware: z.strictObject({
      mrtd: sha384,
      cfv: sha384,
      edition: z.enum(['202502', '202505']),
      secureBoot: z
        .array(z.strictObject({ name: z.string().max(64), digest: z.union([sha384, z.literal('any')]) }))
        .length(5),
      regions: z
        .array(z.strictObject({ kind: z.enum(['tdHob', 'tempMem']), gpa: u32, size: u32.max(1 << 28) }))
        .min(1)
        .max(64),
    }),
    kernel: sha384,
    initrd: sha384,
    commandLine,
  }),
};
