/** GUID partition tables (UEFI 2.10, chapter 5). */
import { crc32 } from 'node:zlib';
import { concat } from '@enclaim/attestation/bytes';
import { parseGuid } from '@enclaim/attestation/guid';
import { type Extent, SECTOR } from './sparse.ts';

/** A row of the table. Places and lengths in sectors. */
export interface Partition {
  /** GUID of what it holds, and its own. */
  readonly type: string;
  readonly id: string;
  /** At most 36 characters of ASCII. */
  readonly name: string;
  readonly first: number;
  readonly sectors: number;
}

/** A partitioned disk. */
export interface PartitionTable {
  readonly id: string;
  /** Size of the whole disk, in sectors. */
  readonly sectors: number;
  readonly partitions: readonly Partition[];
}

const ENTRIES = 128;
const ENTRY = 128;
const HEADER = 92;
const ENTRY_SECTORS = (ENTRIES * ENTRY) / SECTOR;

/**
 * Sectors before the first usable one (protective record, header, entries), and after the last
 * (entries, header).
 */
export const GPT_HEAD: number = 2 + ENTRY_SECTORS;
export const GPT_TAIL: number = ENTRY_SECTORS + 1;

/**
 * Both tables and the protective record of a disk.
 * @throws RangeError for a row that does not fit; DecodeError for no GUID
 */
export function gptExtents(table: PartitionTable): Extent[] {
  const entries = encodeEntries(table);
  const last = table.sectors - 1;
  const primary = header(table, entries, { own: 1, other: last, entriesAt: 2 });
  const backup = header(table, entries, { own: last, other: 1, entriesAt: last - ENTRY_SECTORS });
  return [
    { at: 0, bytes: concat(protectiveRecord(table.sectors), sector(primary), entries) },
    { at: (last - ENTRY_SECTORS) * SECTOR, bytes: concat(entries, sector(backup)) },
  ];
}

/**
 * The event that firmware measures into register 5 when it boots from this disk, and into RTMR1
 * under TDX: UEFI_GPT_DATA, the primary header and the rows in use (TCG PC Client Platform Firmware
 * Profile 1.06, EV_EFI_GPT_EVENT).
 */
export function gptEvent(table: PartitionTable): Uint8Array {
  const entries = encodeEntries(table);
  const used = entries.subarray(0, table.partitions.length * ENTRY);
  const count = new Uint8Array(8);
  new DataView(count.buffer).setUint32(0, table.partitions.length, true);
  return concat(header(table, entries, { own: 1, other: table.sectors - 1, entriesAt: 2 }), count, used);
}

function encodeEntries({ partitions, sectors }: PartitionTable): Uint8Array {
  if (partitions.length > ENTRIES) throw new RangeError(`${partitions.length} partitions`);
  const bytes = new Uint8Array(ENTRIES * ENTRY);
  const view = new DataView(bytes.buffer);
  let free = GPT_HEAD;
  for (const [index, { type, id, name, first, sectors: length }] of partitions.entries()) {
    if (first < free || length < 1 || first + length > sectors - GPT_TAIL || !/^[ -~]{1,36}$/.test(name))
      throw new RangeError(`partition ${name} of ${length} sectors at ${first}`);
    free = first + length;
    const at = index * ENTRY;
    bytes.set(parseGuid(type), at);
    bytes.set(parseGuid(id), at + 16);
    view.setBigUint64(at + 32, BigInt(first), true);
    view.setBigUint64(at + 40, BigInt(free - 1), true);
    for (let i = 0; i < name.length; i++) view.setUint16(at + 56 + 2 * i, name.charCodeAt(i), true);
  }
  return bytes;
}

function header(
  { id, sectors }: PartitionTable,
  entries: Uint8Array,
  at: { readonly own: number; readonly other: number; readonly entriesAt: number },
): Uint8Array {
  const bytes = new Uint8Array(HEADER);
  const view = new DataView(bytes.buffer);
  bytes.set(Buffer.from('EFI PART', 'latin1'));
  view.setUint32(8, 0x00010000, true);
  view.setUint32(12, HEADER, true);
  for (const [index, value] of [at.own, at.other, GPT_HEAD, sectors - GPT_TAIL - 1].entries())
    view.setBigUint64(24 + 8 * index, BigInt(value), true);
  bytes.set(parseGuid(id), 56);
  view.setBigUint64(72, BigInt(at.entriesAt), true);
  for (const [index, value] of [ENTRIES, ENTRY, crc32(entries)].entries()) view.setUint32(80 + 4 * index, value, true);
  view.setUint32(16, crc32(bytes), true); // over the header with this field zero
  return bytes;
}

/** Tells tools of older days that the disk is full: one partition of type 0xEE over all of it. */
function protectiveRecord(sectors: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  const view = new DataView(bytes.buffer);
  bytes.set([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff], 446);
  view.setUint32(454, 1, true);
  view.setUint32(458, Math.min(sectors - 1, 0xffff_ffff), true);
  view.setUint16(510, 0xaa55, true);
  return bytes;
}

function sector(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array(SECTOR - bytes.length));
}
