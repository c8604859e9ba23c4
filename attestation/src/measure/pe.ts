/**
 * PE/COFF images as UEFI firmware reads and measures them (Microsoft PE/COFF rev 11; Authenticode,
 * 2008).
 */

import { concat, fromUtf8, Reader } from '../bytes.ts';
import { DecodeError } from '../errors.ts';

/** A row of the section table. Offsets and lengths in bytes. */
export interface PeSection {
  readonly name: string;
  readonly virtualSize: number;
  readonly virtualAddress: number;
  readonly rawSize: number;
  readonly rawOffset: number;
}

/**
 * The parts of a PE32+ image that matter to measurement and to adding sections. Offsets count from
 * the start of the file.
 */
export interface PeImage {
  readonly bytes: Uint8Array;
  readonly timestampAt: number;
  readonly sectionCountAt: number;
  readonly sectionTableAt: number;
  readonly optionalHeaderAt: number;
  readonly checksumAt: number;
  readonly certificateEntryAt: number;
  readonly sizeOfHeaders: number;
  readonly sectionAlignment: number;
  readonly fileAlignment: number;
  /** The attribute certificate table, which Authenticode does not cover. */
  readonly certificates: { readonly offset: number; readonly size: number };
  /** In the order of the table. */
  readonly sections: readonly PeSection[];
}

const DOS_PE_OFFSET = 0x3c;
const PE32_PLUS = 0x20b;
const OPTIONAL_FIXED = 112;
const SECTION_ENTRY = 40;
const CERTIFICATE_DIRECTORY = 4;
const MAX_SECTIONS = 96; // the Windows loader's limit; firmware has none of its own

/**
 * Parses headers and section table of a PE32+ image.
 *
 * **Trust**: refuses overlapping sections, sections outside the file and tables outside the
 * headers. Without this, a firmware and this reader could see different bytes.
 * @throws DecodeError `magic`, `truncated`, `range`, `syntax`
 */
export function parsePe(bytes: Uint8Array): PeImage {
  const dos = new Reader(bytes);
  if (dos.u16le() !== 0x5a4d) throw new DecodeError('magic', 'no MZ header', 0);
  const start = readerAt(bytes, DOS_PE_OFFSET).u32le();
  const coff = readerAt(bytes, start);
  if (coff.u32le() !== 0x4550) throw new DecodeError('magic', 'no PE header', start);
  coff.skip(2);
  const sectionCountAt = coff.at;
  const count = coff.u16le();
  const timestampAt = coff.at;
  coff.skip(12);
  const optionalSize = coff.u16le();
  coff.skip(2);
  const optionalHeaderAt = coff.at;
  const optional = coff.sub(optionalSize);
  if (optional.u16le() !== PE32_PLUS) throw new DecodeError('magic', 'not a PE32+ image', optionalHeaderAt);
  optional.skip(30);
  const sectionAlignment = alignment(optional);
  const fileAlignment = alignment(optional);
  optional.skip(20);
  const sizeOfHeaders = optional.u32le();
  const checksumAt = optional.at;
  optional.skip(OPTIONAL_FIXED - 4 - (checksumAt - optionalHeaderAt));
  const directories = optional.u32le();
  if (directories > 16 || directories <= CERTIFICATE_DIRECTORY || directories * 8 > optional.left) {
    throw new DecodeError('range', `${directories} data directories`, optional.at - 4);
  }
  const certificateEntryAt = optional.at + CERTIFICATE_DIRECTORY * 8;
  optional.skip(CERTIFICATE_DIRECTORY * 8);
  const certificates = { offset: optional.u32le(), size: optional.u32le() };
  if (
    certificates.size > 0 &&
    (certificates.offset < sizeOfHeaders || certificates.offset + certificates.size !== bytes.length)
  ) {
    throw new DecodeError('range', 'the certificate table does not end the file', certificateEntryAt);
  }
  if (count > MAX_SECTIONS) throw new DecodeError('range', `${count} sections`, sectionCountAt);
  const sectionTableAt = optionalHeaderAt + optionalSize;
  if (sectionTableAt + count * SECTION_ENTRY > sizeOfHeaders || sizeOfHeaders > bytes.length) {
    throw new DecodeError('range', `headers of ${sizeOfHeaders} bytes do not hold ${count} sections`, checksumAt - 4);
  }
  const table = readerAt(bytes, sectionTableAt);
  const sections = Array.from({ length: count }, () => parseSection(table.sub(SECTION_ENTRY)));
  const end = certificates.size > 0 ? certificates.offset : bytes.length;
  refuseOverlaps(sections, sizeOfHeaders, end, sectionTableAt);
  return {
    bytes,
    timestampAt,
    sectionCountAt,
    sectionTableAt,
    optionalHeaderAt,
    checksumAt,
    certificateEntryAt,
    sizeOfHeaders,
    sectionAlignment,
    fileAlignment,
    certificates,
    sections,
  };
}

/**
 * The bytes that an Authenticode digest covers, joined. Left out are the checksum, the certificate
 * table's directory entry and the table itself. Sections are in the order of their place in the
 * file.
 */
export function authenticodeBytes(image: PeImage): Uint8Array {
  const { bytes, checksumAt, certificateEntryAt, sizeOfHeaders, certificates } = image;
  const placed = [...image.sections].filter(({ rawSize }) => rawSize > 0).sort((a, b) => a.rawOffset - b.rawOffset);
  const hashed = placed.reduce((sum, { rawSize }) => sum + rawSize, sizeOfHeaders);
  return concat(
    bytes.subarray(0, checksumAt),
    bytes.subarray(checksumAt + 4, certificateEntryAt),
    bytes.subarray(certificateEntryAt + 8, sizeOfHeaders),
    ...placed.map(({ rawOffset, rawSize }) => bytes.subarray(rawOffset, rawOffset + rawSize)),
    // As edk2 does it: data after the last section starts where the lengths add up to.
    bytes.subarray(hashed, bytes.length - certificates.size),
  );
}

/**
 * A section's first VirtualSize bytes, which the stub sees; padding of the file is left out.
 * @throws DecodeError `range` if the loader would add zeros of its own: the measurement covers no
 * such zeros
 */
export function sectionBytes(image: PeImage, { name, virtualSize, rawSize, rawOffset }: PeSection): Uint8Array {
  if (virtualSize > rawSize) {
    throw new DecodeError(
      'range',
      `section ${name} is ${virtualSize} bytes in memory, ${rawSize} in the file`,
      rawOffset,
    );
  }
  return image.bytes.subarray(rawOffset, rawOffset + virtualSize);
}

/** The only section of that name. @throws DecodeError `syntax` if there are two */
export function sectionNamed(image: PeImage, name: string): PeSection | undefined {
  const [found, second] = image.sections.filter((section) => section.name === name);
  if (second !== undefined) throw new DecodeError('syntax', `two sections named ${name}`, image.sectionTableAt);
  return found;
}

function parseSection(reader: Reader): PeSection {
  const raw = reader.take(8);
  const end = raw.indexOf(0);
  const name = fromUtf8(end < 0 ? raw : raw.subarray(0, end));
  const [virtualSize, virtualAddress, rawSize, rawOffset] = [
    reader.u32le(),
    reader.u32le(),
    reader.u32le(),
    reader.u32le(),
  ];
  return { name, virtualSize, virtualAddress, rawSize, rawOffset };
}

function refuseOverlaps(sections: readonly PeSection[], from: number, to: number, at: number): void {
  let end = from;
  for (const { name, rawSize, rawOffset } of [...sections].sort((a, b) => a.rawOffset - b.rawOffset)) {
    if (rawSize === 0) continue;
    if (rawOffset < end || rawOffset + rawSize > to) {
      throw new DecodeError('range', `section ${name} overlaps another or leaves the file`, at);
    }
    end = rawOffset + rawSize;
  }
}

function readerAt(bytes: Uint8Array, at: number): Reader {
  if (at > bytes.length) throw new DecodeError('truncated', `offset ${at} is outside the file`, at);
  return new Reader(bytes.subarray(at), at);
}

function alignment(reader: Reader): number {
  const { at } = reader;
  const value = reader.u32le();
  if (value < 512 || value > 1 << 20 || (value & (value - 1)) !== 0)
    throw new DecodeError('range', `alignment ${value}`, at);
  return value;
}
