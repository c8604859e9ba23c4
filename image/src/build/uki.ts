/**
 * Our PE writer: a systemd-stub with our sections appended, the same bytes every time (UAPI group,
 * "Unified Kernel Image").
 */
import { type PeImage, parsePe } from '@enclaim/attestation/measure';
import { ImageError } from '../errors.ts';

/** A section to append; the stub finds it by its name of at most 8 characters. */
export interface UkiSection {
  readonly name: string;
  readonly data: Uint8Array;
}

const SECTION_ENTRY = 40;
const INITIALIZED_READ_ONLY = 0x40000040; // IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ

/**
 * Appends sections to a PE image in the order given.
 * @throws ImageError `binary-invalid` for a stub that is signed or has no room for the rows
 * @throws DecodeError for a stub that is no PE image
 */
export function appendSections(stub: Uint8Array, sections: readonly UkiSection[]): Uint8Array {
  const image = parsePe(stub);
  if (image.certificates.size > 0)
    throw new ImageError('binary-invalid', 'the stub is signed; its signature would not hold');
  const placed = place(image, sections);
  const last = placed.at(-1);
  if (last === undefined) return stub;
  const out = new Uint8Array(last.offset + last.rawSize);
  out.set(stub);
  const view = new DataView(out.buffer);
  const rows = image.sectionTableAt + image.sections.length * SECTION_ENTRY;
  for (const [index, { name, data, address, offset, rawSize }] of placed.entries()) {
    const at = rows + index * SECTION_ENTRY;
    out.set(Buffer.from(name, 'latin1'), at);
    for (const [field, value] of [data.length, address, rawSize, offset].entries())
      view.setUint32(at + 8 + field * 4, value, true);
    view.setUint32(at + 36, INITIALIZED_READ_ONLY, true);
    out.set(data, offset);
  }
  const optional = image.optionalHeaderAt;
  const added = placed.reduce((sum, { rawSize }) => sum + rawSize, 0);
  view.setUint32(image.timestampAt, 0, true);
  view.setUint32(image.checksumAt, 0, true);
  view.setUint16(image.sectionCountAt, image.sections.length + placed.length, true);
  // SizeOfInitializedData
  view.setUint32(optional + 8, view.getUint32(optional + 8, true) + added, true);
  // SizeOfImage
  view.setUint32(optional + 56, roundUp(last.address + last.data.length, image.sectionAlignment), true);
  return out;
}

interface Placed extends UkiSection {
  readonly address: number;
  readonly offset: number;
  readonly rawSize: number;
}

function place(image: PeImage, sections: readonly UkiSection[]): Placed[] {
  const rowsEnd = image.sectionTableAt + (image.sections.length + sections.length) * SECTION_ENTRY;
  const firstRaw = Math.min(...image.sections.filter((s) => s.rawSize > 0).map((s) => s.rawOffset));
  if (rowsEnd > Math.min(firstRaw, image.sizeOfHeaders)) {
    throw new ImageError('binary-invalid', `the stub's headers have no room for ${sections.length} more sections`);
  }
  const names = new Set(image.sections.map(({ name }) => name));
  let address = Math.max(...image.sections.map((s) => s.virtualAddress + s.virtualSize));
  let offset = image.bytes.length;
  return sections.map((section) => {
    if (names.has(section.name) || !/^\.[a-z]{1,7}$/.test(section.name) || section.data.length === 0) {
      throw new ImageError('binary-invalid', `section ${section.name} is empty, misnamed or there already`);
    }
    names.add(section.name);
    address = roundUp(address, image.sectionAlignment);
    offset = roundUp(offset, image.fileAlignment);
    const placed = { ...section, address, offset, rawSize: roundUp(section.data.length, image.fileAlignment) };
    address += section.data.length;
    offset += placed.rawSize;
    return placed;
  });
}

function roundUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}
