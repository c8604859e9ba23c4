/**
 * OVMF firmware images: the table of GUIDed structures at their end, and the SEV metadata that it
 * points to.
 */

import { Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';
import { formatGuid, GUID_LENGTH } from '../guid.ts';

/** Kinds of SEV metadata sections (edk2, OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm). */
export type SevSectionKind = 'secMem' | 'secrets' | 'cpuid' | 'svsmCaa' | 'kernelHashes';

/** A region of guest memory that the launcher prepares before the firmware runs. */
export interface SevSection {
  readonly kind: SevSectionKind;
  readonly gpa: number;
  /** In bytes; may be zero. */
  readonly size: number;
}

/** A firmware image as parsed, with the parts that the launcher reads. */
export interface Firmware {
  readonly bytes: Uint8Array;
  /** Address it is loaded at: it ends at 4 GiB, or at the address that the caller gave. */
  readonly gpa: number;
  /** Contents of the structures by GUID, in the order of the file. */
  readonly structures: ReadonlyMap<string, Uint8Array>;
}

/** GUIDs of the structures that this file or another one of this folder reads. */
export const FIRMWARE_GUID = {
  footer: '96b582de-1fb2-45f7-baea-a366c55a082d',
  resetBlock: '00f771de-1a7e-4fcb-890e-68c77e2fb44e',
  hashesTable: '7255371f-3a3b-4b04-927b-1da6efa8d454',
  sevMetadata: 'dc886566-984a-4798-a75e-5585a7bf67cc',
  tdxMetadata: 'e47a6535-984a-4798-865e-4685a7bf8ec2',
  svsmInfo: 'a789a612-0597-4c4b-a49f-cbb1fe9d1ddd',
} as const;

/** The end of the address space below which firmware lies. */
export const FOUR_GIB = 0x1_0000_0000;
/** Size of a page in bytes. */
export const PAGE = 4096;

const MAX_FIRMWARE = 1 << 24;
const MAX_SECTIONS = 64;
/** A structure's header: u16 size of the whole, GUID. It comes after the data. */
const HEADER = 2 + GUID_LENGTH;
/** The footer's GUID ends this far before the end of the image. */
const FOOTER_END = 32;

const SECTION_KINDS: Readonly<Record<number, SevSectionKind>> = {
  1: 'secMem',
  2: 'secrets',
  3: 'cpuid',
  4: 'svsmCaa',
  16: 'kernelHashes',
};

/**
 * Reads a firmware image of at most 16 MiB, or the last pages of one.
 * @param end Guest physical address of the byte after its last.
 * @throws DecodeError
 */
export function parseFirmware(bytes: Uint8Array, end: number = FOUR_GIB): Firmware {
  if (bytes.length > MAX_FIRMWARE || bytes.length % PAGE !== 0) {
    throw new DecodeError('range', `firmware of ${bytes.length} bytes is not whole pages of at most 16 MiB`, 0);
  }
  const structures = readStructures(bytes);
  const gpa = end - bytes.length;
  return { bytes, gpa, structures };
}

/** The SEV metadata of a firmware image; empty if it has none. @throws DecodeError */
export function sevSections({ bytes, structures }: Firmware): SevSection[] {
  const metadata = structures.get(FIRMWARE_GUID.sevMetadata);
  return metadata === undefined ? [] : readSections(metadataAt(bytes, metadata));
}

/**
 * The first four bytes of a structure, as a number.
 * @throws DecodeError `syntax` if the image lacks it.
 */
export function structureU32(firmware: Firmware, guid: string): number {
  const structure = firmware.structures.get(guid);
  if (structure === undefined) throw new DecodeError('syntax', `firmware has no structure ${guid}`, 0);
  return new Reader(structure).u32le();
}

/**
 * A reader over the image's tail, from as many bytes before its end as a metadata structure says.
 */
export function metadataAt(bytes: Uint8Array, structure: Uint8Array): Reader {
  const offset = new Reader(structure).u32le();
  if (offset > bytes.length) throw new DecodeError('range', `metadata ${offset} bytes before the end`, 0);
  const start = bytes.length - offset;
  return new Reader(bytes.subarray(start), start);
}

/** Walks backwards from the footer: each structure's header follows its data. */
function readStructures(bytes: Uint8Array): Map<string, Uint8Array> {
  const structures = new Map<string, Uint8Array>();
  const footer = bytes.length - FOOTER_END - HEADER;
  const { size, guid } = readHeader(bytes, footer);
  if (guid !== FIRMWARE_GUID.footer) throw new DecodeError('magic', 'firmware without a table of structures', footer);
  const start = footer + HEADER - size;
  if (start < 0) throw new DecodeError('range', `table of ${size} bytes`, footer);
  for (let at = footer; at > start; ) {
    const header = at - HEADER;
    const structure = header < start ? undefined : readHeader(bytes, header);
    if (structure === undefined || structure.size < HEADER || at - structure.size < start) {
      throw new DecodeError('range', 'structure reaches out of its table', at);
    }
    if (structures.has(structure.guid)) throw new DecodeError('syntax', `structure ${structure.guid} stands twice`, at);
    structures.set(structure.guid, bytes.subarray(at - structure.size, header));
    at -= structure.size;
  }
  return structures;
}

function readHeader(bytes: Uint8Array, at: number): { size: number; guid: string } {
  if (at < 0) throw new DecodeError('truncated', 'firmware is too short for a table', 0);
  const reader = new Reader(bytes.subarray(at, at + HEADER), at);
  return { size: reader.u16le(), guid: formatGuid(reader.take(GUID_LENGTH)) };
}

function readSections(reader: Reader): SevSection[] {
  if (reader.u32le() !== 0x5645_5341)
    throw new DecodeError('magic', 'SEV metadata does not start with ASEV', reader.at);
  const length = reader.u32le();
  const version = reader.u32le();
  if (version !== 1) throw new DecodeError('version', `SEV metadata version ${version}`, reader.at);
  const count = reader.u32le();
  if (count > MAX_SECTIONS || length !== 16 + 12 * count) {
    throw new DecodeError('range', `${count} SEV sections in ${length} bytes`, reader.at);
  }
  return Array.from({ length: count }, () => {
    const [gpa, size, type] = [reader.u32le(), reader.u32le(), reader.u32le()];
    const kind = SECTION_KINDS[type];
    if (kind === undefined) throw new DecodeError('version', `SEV section type ${type}`, reader.at);
    if (gpa % PAGE !== 0 || size % PAGE !== 0 || size > MAX_FIRMWARE) {
      throw new DecodeError('range', `SEV section at 0x${gpa.toString(16)} of 0x${size.toString(16)} bytes`, reader.at);
    }
    return { kind, gpa, size };
  });
}
