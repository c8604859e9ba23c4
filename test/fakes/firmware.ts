/** Small firmware images with the tables that launchers read: SEV and TDX metadata, in OVMF's formats. */

import { parseGuid } from '../../attestation/src/guid.ts';

const PAGE = 4096;

/** What a firmware image says. */
export interface FakeFirmware {
  readonly pages?: number;
  /** [address, size, type] */
  readonly sevSections?: readonly (readonly [number, number, number])[];
  /** [data offset, raw size, address, size, type, attributes] */
  readonly tdxSections?: readonly (readonly [number, number, number, number, number, number])[];
  readonly resetEip?: number;
  readonly hashesTable?: number;
}

const SEV_DEFAULT = [
  [0x80_0000, 0x2000, 1],
  [0x80_d000, 0x1000, 2],
  [0x80_e000, 0x1000, 3],
  [0x80_f000, 0x1000, 4],
  [0x81_0000, 0x1000, 0x10],
] as const;

/** An image of whole pages, its contents a pattern, its tables at the end. */
export function fakeFirmware(options: FakeFirmware = {}): Uint8Array {
  const pages = options.pages ?? 2;
  const image = Buffer.from(Array.from({ length: pages * PAGE }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
  const sev = options.sevSections ?? SEV_DEFAULT;
  const tdx = options.tdxSections ?? [
    [PAGE, (pages - 1) * PAGE, 2 ** 32 - (pages - 1) * PAGE, (pages - 1) * PAGE, 0, 1],
    [0, PAGE, 2 ** 32 - pages * PAGE, PAGE, 1, 0],
    [0, 0, 0x80_9000, 0x2000, 2, 0],
    [0, 0, 0x81_0000, 0x4000, 3, 0],
  ];
  const sevAt = 1600;
  const tdxAt = 1200;
  const sevTable = Buffer.concat([Buffer.from('ASEV'), u32(16 + 12 * sev.length, 1, sev.length), u32(...sev.flat())]);
  const tdxTable = Buffer.concat([
    Buffer.from('TDVF'),
    u32(16 + 32 * tdx.length, 1, tdx.length),
    ...tdx.map(([offset, raw, address, size, type, attributes]) =>
      Buffer.concat([u32(offset, raw), u64(address), u64(size), u32(type, attributes)]),
    ),
  ]);
  image.set(sevTable, image.length - sevAt);
  image.set(tdxTable, image.length - tdxAt);
  const structures = Buffer.concat([
    structure('e47a6535-984a-4798-865e-4685a7bf8ec2', u32(tdxAt)),
    structure('dc886566-984a-4798-a75e-5585a7bf67cc', u32(sevAt)),
    structure('7255371f-3a3b-4b04-927b-1da6efa8d454', u32(options.hashesTable ?? 0x81_0c00, 0x400)),
    structure('00f771de-1a7e-4fcb-890e-68c77e2fb44e', u32(options.resetEip ?? 0x80_b004)),
  ]);
  const table = Buffer.concat([
    structures,
    structure('96b582de-1fb2-45f7-baea-a366c55a082d', Buffer.alloc(0), structures.length),
  ]);
  image.set(table, image.length - 32 - table.length);
  return image;
}

/** Data, then the size of the whole, then the GUID. */
function structure(guid: string, data: Uint8Array, before = 0): Buffer {
  const size = Buffer.alloc(2);
  size.writeUInt16LE(before + data.length + 18);
  return Buffer.concat([data, size, parseGuid(guid)]);
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, 4 * index);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
