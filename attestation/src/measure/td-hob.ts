/**
 * The TD HOB: the memory map that the launcher hands to TDVF, and the first event of RTMR0 (TDVF
 * design guide, 4.2).
 */

import { concat } from '../bytes.ts';
import { AppraisalError } from '../errors.ts';
import { FOUR_GIB } from './ovmf.ts';
import type { TdvfSection } from './tdvf.ts';

/** A range of guest memory, and whether the launcher has accepted it already. */
interface Range {
  readonly start: number;
  readonly end: number;
  readonly accepted: boolean;
}

/** The part of a section that the list tells: the memory that the firmware asked for. */
export type TdvfRegion = Pick<TdvfSection, 'kind' | 'gpa' | 'size'>;

/** EFI_RESOURCE_SYSTEM_MEMORY and EFI_RESOURCE_MEMORY_UNACCEPTED. */
const RESOURCE = { accepted: 0, unaccepted: 7 } as const;
/** Present, initialized, tested. */
const ATTRIBUTES = 7;
/** GCE sets bit 28 on unaccepted memory besides. */
const GCE_UNACCEPTED = 0x1000_0007;

/** QEMU: low memory ends at 2 GiB once there are at least 2816 MiB (hw/i386/pc_q35.c). */
const QEMU_SPLIT = 0xb000_0000;
const QEMU_LOW = 0x8000_0000;
/** GCE: low memory ends at 3 GiB. */
const GCE_LOW = 0xc000_0000;

/**
 * The HOB list that QEMU writes: every range of memory, in order of address.
 * @param memory Bytes.
 */
export function qemuTdHob(sections: readonly TdvfRegion[], memory: number): Uint8Array {
  const accepted = sections.filter(({ kind }) => kind === 'tdHob' || kind === 'tempMem').map(acceptedRange);
  const low = memory >= QEMU_SPLIT ? QEMU_LOW : memory;
  const ordered = accepted.toSorted((a, b) => a.start - b.start);
  const ranges = [...ordered, ...gaps(ordered, low)].toSorted((a, b) => a.start - b.start);
  return encode(hobBase(sections), [...ranges, ...above(memory - low)], ATTRIBUTES, QEMU_END_HOB);
}

/**
 * The HOB list that GCE writes: the firmware's own regions as its metadata orders them, then what
 * is left.
 */
export function gceTdHob(sections: readonly TdvfRegion[], memory: number): Uint8Array {
  const accepted = sections.map(acceptedRange);
  const ordered = accepted.filter(({ end }) => end <= GCE_LOW).toSorted((a, b) => a.start - b.start);
  const ranges = [...accepted, ...gaps(ordered, GCE_LOW), ...above(memory - GCE_LOW)];
  return encode(hobBase(sections), ranges, GCE_UNACCEPTED, 0);
}

function acceptedRange({ gpa, size }: TdvfRegion): Range {
  return { start: gpa, end: gpa + size, accepted: true };
}

/** The unaccepted ranges between ordered ranges, up to the end of low memory. */
function gaps(ordered: readonly Range[], end: number): Range[] {
  const found: Range[] = [];
  let at = 0;
  for (const range of ordered) {
    if (range.start < at || range.end > end)
      throw new AppraisalError('references', 'firmware regions overlap, or leave memory');
    if (range.start > at) found.push({ start: at, end: range.start, accepted: false });
    at = range.end;
  }
  return at < end ? [...found, { start: at, end, accepted: false }] : found;
}

function above(size: number): Range[] {
  return size > 0 ? [{ start: FOUR_GIB, end: FOUR_GIB + size, accepted: false }] : [];
}

function hobBase(sections: readonly TdvfRegion[]): number {
  const section = sections.find(({ kind }) => kind === 'tdHob');
  if (section === undefined) throw new AppraisalError('references', 'firmware has no place for a TD HOB');
  return section.gpa;
}

/** QEMU counts an end HOB that is not measured; GCE does not. */
const QEMU_END_HOB = 8;
const HANDOFF_LENGTH = 56;
const RESOURCE_LENGTH = 48;

/**
 * EFI_HOB_HANDOFF_INFO_TABLE, then one EFI_HOB_RESOURCE_DESCRIPTOR for each range (PI 1.8, volume
 * 3, 5).
 */
function encode(base: number, ranges: readonly Range[], unaccepted: number, endHob: number): Uint8Array {
  const handoff = new DataView(new ArrayBuffer(HANDOFF_LENGTH));
  handoff.setUint16(0, 1, true);
  handoff.setUint16(2, HANDOFF_LENGTH, true);
  handoff.setUint32(8, 9, true);
  // EfiEndOfHobList.
  handoff.setBigUint64(48, BigInt(base + HANDOFF_LENGTH + RESOURCE_LENGTH * ranges.length + endHob), true);
  const resources = ranges.map(({ start, end, accepted }) => {
    const resource = new DataView(new ArrayBuffer(RESOURCE_LENGTH));
    resource.setUint16(0, 3, true);
    resource.setUint16(2, RESOURCE_LENGTH, true);
    resource.setUint32(24, accepted ? RESOURCE.accepted : RESOURCE.unaccepted, true);
    resource.setUint32(28, accepted ? ATTRIBUTES : unaccepted, true);
    resource.setBigUint64(32, BigInt(start), true);
    resource.setBigUint64(40, BigInt(end - start), true);
    return resource;
  });
  return concat(...[handoff, ...resources].map(({ buffer }) => new Uint8Array(buffer)));
}
