/** ELF files (System V ABI, AMD64 supplement): drop what is never loaded, read what is needed. */
import { ImageError } from '../errors.ts';

const HEADER = 64;
const PROGRAM_HEADER = 56;
const SECTION_HEADER = 64;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const SHT_NOBITS = 8;
const SHF_ALLOC = 2n;
const MAX_HEADERS = 4096;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: bigint;
  readonly fileSize: number;
}

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly offset: number;
  readonly size: number;
}

/**
 * The file without symbols, debug information and section headers: everything after the last byte
 * that is loaded.
 *
 * Loading uses program headers only, so the rest runs the same. It is a cut and not a rewrite. The
 * result is a prefix of the input except for three header fields that now say "no section headers",
 * and checking it needs no binutils.
 * @throws ImageError `binary-invalid`, also if something that is loaded lies behind the cut
 */
export function stripElf(bytes: Uint8Array): Uint8Array {
  const segments = programHeaders(bytes);
  const end = Math.max(0, ...segments.map(({ offset, fileSize }) => offset + fileSize));
  if (end < HEADER) throw invalid('its segments do not hold its header');
  const loadedBehind = sectionHeaders(bytes).find(
    ({ type, flags, offset, size }) => (flags & SHF_ALLOC) !== 0n && type !== SHT_NOBITS && offset + size > end,
  );
  if (loadedBehind !== undefined) throw invalid(`section ${loadedBehind.name} is loaded but in no segment`);
  const out = bytes.slice(0, end);
  const view = viewOf(out);
  view.setBigUint64(0x28, 0n, true); // e_shoff
  view.setUint16(0x3c, 0, true); // e_shnum
  view.setUint16(0x3e, 0, true); // e_shstrndx
  return out;
}

/**
 * Names of the shared libraries that the file wants, in its order.
 * @throws ImageError `binary-invalid`
 */
export function neededLibraries(bytes: Uint8Array): string[] {
  const segments = programHeaders(bytes);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const view = viewOf(bytes);
  const entries: { tag: bigint; value: bigint }[] = [];
  for (let at = dynamic.offset; at + 16 <= dynamic.offset + dynamic.fileSize; at += 16) {
    entries.push({ tag: view.getBigUint64(at, true), value: view.getBigUint64(at + 8, true) });
  }
  const strings = entries.find(({ tag }) => tag === DT_STRTAB)?.value ?? 0n;
  const home = segments.find(
    ({ type, address, fileSize }) => type === PT_LOAD && strings >= address && strings < address + BigInt(fileSize),
  );
  if (home === undefined) throw invalid('the dynamic string table is not loaded');
  const base = home.offset + Number(strings - home.address);
  return entries.filter(({ tag }) => tag === DT_NEEDED).map(({ value }) => stringAt(bytes, base + Number(value)));
}

/** Contents of the section of that name. @throws ImageError `binary-invalid` if there is none */
export function elfSection(bytes: Uint8Array, name: string): Uint8Array {
  const section = sectionHeaders(bytes).find((candidate) => candidate.name === name);
  if (section === undefined || section.type === SHT_NOBITS) throw invalid(`no section ${name}`);
  return bytes.subarray(section.offset, section.offset + section.size);
}

function programHeaders(bytes: Uint8Array): Segment[] {
  const view = headerView(bytes);
  return table(bytes, Number(view.getBigUint64(0x20, true)), view.getUint16(0x38, true), PROGRAM_HEADER).map((at) =>
    inside(bytes, {
      type: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 8, true)),
      address: view.getBigUint64(at + 16, true),
      fileSize: Number(view.getBigUint64(at + 32, true)),
    }),
  );
}

function sectionHeaders(bytes: Uint8Array): Section[] {
  const view = headerView(bytes);
  const rows = table(bytes, Number(view.getBigUint64(0x28, true)), view.getUint16(0x3c, true), SECTION_HEADER);
  const names = rows[view.getUint16(0x3e, true)];
  const namesAt = names === undefined ? 0 : Number(view.getBigUint64(names + 24, true));
  return rows.map((at) => ({
    name: stringAt(bytes, namesAt + view.getUint32(at, true)),
    type: view.getUint32(at + 4, true),
    flags: view.getBigUint64(at + 8, true),
    offset: Number(view.getBigUint64(at + 24, true)),
    size: Number(view.getBigUint64(at + 32, true)),
  }));
}

function headerView(bytes: Uint8Array): DataView {
  const ident = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]; // ELF, 64-bit, little-endian, version 1
  if (bytes.length < HEADER || ident.some((byte, index) => bytes[index] !== byte))
    throw invalid('not a 64-bit ELF file');
  return viewOf(bytes);
}

function table(bytes: Uint8Array, at: number, count: number, size: number): number[] {
  if (count > MAX_HEADERS || at + count * size > bytes.length) throw invalid('a header table leaves the file');
  return Array.from({ length: count }, (_, index) => at + index * size);
}

function inside(bytes: Uint8Array, segment: Segment): Segment {
  if (segment.offset + segment.fileSize > bytes.length) throw invalid('a segment leaves the file');
  return segment;
}

function stringAt(bytes: Uint8Array, at: number): string {
  const end = bytes.indexOf(0, at);
  if (end < 0 || end - at > 4096) throw invalid('a string does not end');
  return Buffer.from(bytes.subarray(at, end)).toString('latin1');
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function invalid(message: string): ImageError {
  return new ImageError('binary-invalid', message);
}
