/**
 * ACPI as QEMU hands it to firmware: the tables, and the two blobs that follow from them
 * (hw/acpi/bios-linker-loader.c).
 */

import { concat, Reader, utf8 } from '../bytes.ts';
import { DecodeError } from '../errors.ts';

/** A table's place in `etc/acpi/tables`. */
interface Table {
  readonly signature: string;
  readonly offset: number;
  readonly length: number;
}

const TABLES_FILE = 'etc/acpi/tables';
const RSDP_FILE = 'etc/acpi/rsdp';
const FILE_NAME_LENGTH = 56;
const COMMAND_LENGTH = 128;
const LOADER_LENGTH = 4096;
const MAX_TABLES = 128;

/**
 * Offsets in tables: checksum of any, pointers of FACP, entries of RSDT, and the pointer and
 * checksum of RSDP.
 */
const CHECKSUM = 9;
const FACP_POINTERS = [
  [36, 4],
  [40, 4],
  [140, 8],
] as const;
const RSDT_ENTRIES = 36;
const RSDP_POINTER = 16;
const RSDP_CHECKSUM = 8;
const RSDP_LENGTH = 20;

/**
 * RSDP and table loader of a guest with these tables.
 * @throws DecodeError if the tables are not as QEMU writes them.
 */
export function qemuAcpiBlobs(tables: Uint8Array): { readonly rsdp: Uint8Array; readonly loader: Uint8Array } {
  const list = listTables(tables);
  const rsdp = concat(
    utf8('RSD PTR '),
    Uint8Array.of(0),
    utf8('BOCHS '),
    Uint8Array.of(0),
    u32(find(list, 'RSDT').offset),
  );
  return { rsdp, loader: loaderOf(list) };
}

function listTables(tables: Uint8Array): Table[] {
  const list: Table[] = [];
  let offset = 0;
  while (tables.length - offset >= 8 && /^[ -~]{4}$/.test(text(tables, offset))) {
    const length = new Reader(tables.subarray(offset + 4), offset).u32le();
    if (length < 8 || length > tables.length - offset)
      throw new DecodeError('range', `ACPI table of ${length} bytes`, offset);
    if (list.length === MAX_TABLES) throw new DecodeError('range', `more than ${MAX_TABLES} ACPI tables`, offset);
    list.push({ signature: text(tables, offset), offset, length });
    offset += length;
  }
  return list;
}

function text(bytes: Uint8Array, offset: number): string {
  return String.fromCharCode(...bytes.subarray(offset, offset + 4));
}

function find(list: readonly Table[], signature: string): Table {
  const table = list.find((one) => one.signature === signature);
  if (table === undefined) throw new DecodeError('syntax', `no ACPI table ${signature}`, 0);
  return table;
}

/** The commands in the order in which QEMU builds tables. */
function loaderOf(list: readonly Table[]): Uint8Array {
  const [dsdt, facp, rsdt] = ['DSDT', 'FACP', 'RSDT'].map((signature) => find(list, signature)) as [
    Table,
    Table,
    Table,
  ];
  const others = list.filter(({ signature }) => !['FACS', 'DSDT', 'FACP', 'RSDT'].includes(signature));
  const entries = Math.floor((rsdt.length - RSDT_ENTRIES) / 4);
  const commands = [
    allocate(RSDP_FILE, 16, 2),
    allocate(TABLES_FILE, 64, 1),
    checksum(dsdt),
    ...FACP_POINTERS.map(([at, size]) => pointer(TABLES_FILE, facp.offset + at, size)),
    checksum(facp),
    ...others.map(checksum),
    ...Array.from({ length: entries }, (_, i) => pointer(TABLES_FILE, rsdt.offset + RSDT_ENTRIES + 4 * i, 4)),
    checksum(rsdt),
    pointer(RSDP_FILE, RSDP_POINTER, 4),
    command(3, name(RSDP_FILE), u32(RSDP_CHECKSUM), u32(0), u32(RSDP_LENGTH)),
  ];
  return padded(concat(...commands), LOADER_LENGTH);
}

function allocate(file: string, alignment: number, zone: number): Uint8Array {
  return command(1, name(file), u32(alignment), Uint8Array.of(zone));
}

function pointer(file: string, offset: number, size: number): Uint8Array {
  return command(2, name(file), name(TABLES_FILE), u32(offset), Uint8Array.of(size));
}

function checksum({ offset, length }: Table): Uint8Array {
  return command(3, name(TABLES_FILE), u32(offset + CHECKSUM), u32(offset), u32(length));
}

function command(number: number, ...fields: readonly Uint8Array[]): Uint8Array {
  return padded(concat(u32(number), ...fields), COMMAND_LENGTH);
}

function name(file: string): Uint8Array {
  return padded(utf8(file), FILE_NAME_LENGTH);
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  return concat(bytes, new Uint8Array(Math.max(0, length - bytes.length)));
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
