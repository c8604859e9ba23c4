/**
 * TDVF metadata: which parts of a firmware image go where in a trust domain, and which of them MRTD
 * measures (TDVF design guide, 11).
 */

import { digest } from '#crypto';
import { utf8 } from '../bytes.ts';
import type { Sha384 } from '../digest.ts';
import { DecodeError } from '../errors.ts';
import { FIRMWARE_GUID, type Firmware, metadataAt, PAGE } from './ovmf.ts';

/** Kinds of sections, by number. */
const KINDS = ['bfv', 'cfv', 'tdHob', 'tempMem', 'permMem', 'payload', 'payloadParam', 'tdInfo', 'tdParams'] as const;
export type TdvfSectionKind = (typeof KINDS)[number];

/** A section of the metadata. */
export interface TdvfSection {
  readonly kind: TdvfSectionKind;
  /** Offset of its data in the image; without meaning if `rawSize` is zero. */
  readonly dataOffset: number;
  readonly rawSize: number;
  /** Guest physical address, page-aligned. */
  readonly gpa: number;
  readonly size: number;
  /** Bit 0: contents are measured. Bit 1: pages are added later, and not measured at all. */
  readonly attributes: number;
}

/** Attribute bits. */
const EXTEND = 1;
const AUGMENT = 2;

const MAX_SECTIONS = 64;
/** Largest size of a section: firmware asks for no larger region. */
const MAX_SECTION = 1 << 28;
const CHUNK = 256;

/** Reads the sections of a firmware image. @throws DecodeError; `syntax` if the image has none. */
export function parseTdvf(firmware: Firmware): TdvfSection[] {
  const structure = firmware.structures.get(FIRMWARE_GUID.tdxMetadata);
  if (structure === undefined) throw new DecodeError('syntax', 'firmware has no TDX metadata', 0);
  const reader = metadataAt(firmware.bytes, structure);
  if (reader.u32le() !== 0x4656_4454)
    throw new DecodeError('magic', 'TDX metadata does not start with TDVF', reader.at);
  const length = reader.u32le();
  const version = reader.u32le();
  if (version !== 1) throw new DecodeError('version', `TDX metadata version ${version}`, reader.at);
  const count = reader.u32le();
  if (count > MAX_SECTIONS || length !== 16 + 32 * count) {
    throw new DecodeError('range', `${count} TDX sections in ${length} bytes`, reader.at);
  }
  return Array.from({ length: count }, () => {
    const { at } = reader;
    const [dataOffset, rawSize] = [reader.u32le(), reader.u32le()];
    const [gpa, size] = [Number(reader.u64le()), Number(reader.u64le())];
    const [type, attributes] = [reader.u32le(), reader.u32le()];
    const kind = KINDS[type];
    if (kind === undefined || attributes > (EXTEND | AUGMENT)) {
      throw new DecodeError('version', `TDX section type ${type}, attributes ${attributes}`, at);
    }
    const fits = size <= MAX_SECTION && rawSize <= size && dataOffset + rawSize <= firmware.bytes.length;
    const complete = !(attributes & EXTEND) || rawSize === size;
    if (gpa % PAGE !== 0 || size % PAGE !== 0 || !Number.isSafeInteger(gpa) || !fits || !complete) {
      throw new DecodeError('range', `TDX section at 0x${gpa.toString(16)} of 0x${size.toString(16)} bytes`, at);
    }
    return { kind, dataOffset, rawSize, gpa, size, attributes };
  });
}

/**
 * Order of the launcher's calls. `interleaved`: each page is added and then measured (upstream
 * QEMU, GCE). `two-pass`: all pages of a section are added before any is measured (older QEMU).
 */
export type MrtdOrder = 'interleaved' | 'two-pass';

/**
 * MRTD of a trust domain that starts with this firmware (TDX module ABI, TDH.MEM.PAGE.ADD and
 * TDH.MR.EXTEND).
 */
export async function mrtdOf(firmware: Firmware, order: MrtdOrder = 'interleaved'): Promise<Sha384> {
  const sections = parseTdvf(firmware);
  const pages = (section: TdvfSection): number[] =>
    Array.from({ length: section.size / PAGE }, (_, page) => page * PAGE);
  const parts: Uint8Array[] = [];
  for (const section of sections) {
    if (order === 'interleaved') {
      for (const page of pages(section)) parts.push(...added(section, page), ...measured(firmware, section, page));
    } else {
      for (const page of pages(section)) parts.push(...added(section, page));
      for (const page of pages(section)) parts.push(...measured(firmware, section, page));
    }
  }
  return (await digest('sha384', joined(parts))) as Sha384;
}

/**
 * SHA-384 of the configuration volume, which RTMR0 measures.
 * @throws DecodeError `syntax` if the firmware has none.
 */
export async function cfvDigest(firmware: Firmware): Promise<Sha384> {
  const section = parseTdvf(firmware).find(({ kind }) => kind === 'cfv');
  if (section === undefined) throw new DecodeError('syntax', 'firmware has no configuration volume', 0);
  const { dataOffset, rawSize } = section;
  return (await digest('sha384', firmware.bytes.subarray(dataOffset, dataOffset + rawSize))) as Sha384;
}

function added({ attributes, gpa }: TdvfSection, page: number): Uint8Array[] {
  return attributes & AUGMENT ? [] : [operation('MEM.PAGE.ADD', gpa + page)];
}

function measured({ bytes }: Firmware, { attributes, gpa, dataOffset }: TdvfSection, page: number): Uint8Array[] {
  if (!(attributes & EXTEND)) return [];
  const parts: Uint8Array[] = [];
  for (let at = page; at < page + PAGE; at += CHUNK) {
    parts.push(operation('MR.EXTEND', gpa + at), bytes.subarray(dataOffset + at, dataOffset + at + CHUNK));
  }
  return parts;
}

/** The block that stands for a call: its name, and the address at 16. */
function operation(name: string, gpa: number): Uint8Array {
  const block = new Uint8Array(128);
  block.set(utf8(name));
  new DataView(block.buffer).setBigUint64(16, BigInt(gpa), true);
  return block;
}

/** As `concat`, for more parts than a call takes arguments. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
