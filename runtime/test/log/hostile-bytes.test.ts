/**
 * No bytes of a disk end the process, hang it or make it read without bound: a log opens or is
 * refused, and what it then gives is of its own tree.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { equalBytes } from '@enclaim/attestation/bytes';
import { sha256 } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import { auditLog, logLayout, SECTOR_BYTES, sealBlock } from '@enclaim/attestation/log-disk';
import { leafHash, rootFromPath } from '@enclaim/attestation/merkle';
import { parseBlock } from '../../../attestation/src/log/block.ts';
import { parseSuperblock } from '../../../attestation/src/log/superblock.ts';
import { count } from '../../../test/support/long.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Device } from '../../src/log/device.ts';
import { RecordLog } from '../../src/log/record-log.ts';
import { type Draw, entry, FakeDisk, numbers, seededDraw } from './support.ts';

const CAPACITY = 256 * 1024;
/** Reads of the whole disk that opening and asking may take, a scan included. */
const MAX_READS = 40;

/** A disk of three boots that went round its ring. */
async function honest(): Promise<FakeDisk> {
  const disk = new FakeDisk(CAPACITY);
  for (let boot = 0; boot < 3; boot++) {
    const log = await disk.open();
    for (let round = 0; round < 12; round++) {
      const placed = numbers(1 + ((round * 5) % 13), log.size).map((reason) => log.place(entry(reason)));
      await placed.at(-1)?.durable;
      log.forget(Math.max(log.minimum, log.durable.size - 60));
    }
  }
  return disk;
}

/** A number that readers may stumble over. */
function oddNumber(draw: Draw): bigint {
  const odd = [
    0n,
    1n,
    2n,
    255n,
    256n,
    511n,
    512n,
    65_535n,
    2n ** 31n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 63n,
    2n ** 64n - 1n,
  ];
  return draw(3) === 0 ? BigInt(draw(CAPACITY)) : (odd[draw(odd.length)] ?? 0n);
}

/** Changes a field of a superblock and hashes it anew. */
function forgeSuperblock(disk: FakeDisk, draw: Draw): void {
  const at = 4096 * draw(2);
  const sector = disk.bytes.subarray(at, at + SECTOR_BYTES);
  sector.writeBigUInt64BE(oddNumber(draw), 16 + 8 * draw(6));
  sector.set(sha256(sector.subarray(0, 480)), 480);
}

/** Changes a field of the block at a random sector, if there is one, and hashes it anew. */
function forgeBlock(disk: FakeDisk, draw: Draw): void {
  const { base, length } = disk.layout.journal;
  let at = base + SECTOR_BYTES * draw(length / SECTOR_BYTES);
  while (at > base && disk.bytes.toString('latin1', at, at + 7) !== 'ENCLBLK') at -= SECTOR_BYTES;
  const own = disk.bytes.readUInt32BE(at + 8);
  const field = draw(10);
  if (field < 2) disk.bytes.writeUInt32BE(Number(oddNumber(draw) % 2n ** 32n), at + 8 + 4 * field);
  else if (field < 6) disk.bytes.writeBigUInt64BE(oddNumber(draw), at + 8 + 8 * (field - 1));
  else if (own > 120 && at + own < disk.bytes.length) disk.bytes.writeUInt16BE(draw(65_536), at + 80 + draw(own - 120));
  const said = disk.bytes.readUInt32BE(at + 8);
  if (said > 112 && at + said < disk.bytes.length) {
    const seal = disk.bytes.subarray(at, at + said);
    seal.set(sha256(seal.subarray(0, said - 32)), said - 32);
  }
}

/** Ways to spoil a disk. */
const SPOILS: Readonly<Record<string, (disk: FakeDisk, draw: Draw) => void>> = {
  'random bytes everywhere': (disk, draw) => {
    for (let at = 0; at < disk.bytes.length; at++) disk.bytes[at] = draw(256);
  },
  'random bytes in places': (disk, draw) => {
    for (let times = 1 + draw(200); times > 0; times--) disk.bytes[draw(disk.bytes.length)] = draw(256);
  },
  'sectors copied to other places': (disk, draw) => {
    for (let times = 1 + draw(20); times > 0; times--) {
      const [from, to] = [draw(disk.bytes.length / 512) * 512, draw(disk.bytes.length / 512) * 512];
      disk.bytes.copyWithin(to, from, from + 512 * (1 + draw(8)));
    }
  },
  'superblocks forged': (disk, draw) => {
    for (let times = 1 + draw(4); times > 0; times--) forgeSuperblock(disk, draw);
  },
  'blocks forged': (disk, draw) => {
    for (let times = 1 + draw(10); times > 0; times--) forgeBlock(disk, draw);
    if (draw(2) === 0) disk.bytes.fill(0, 0, 8192);
  },
  'places and tiles forged': (disk, draw) => {
    const { levels, places } = disk.layout;
    for (let times = 1 + draw(6); times > 0; times--) {
      disk.bytes.writeBigUInt64BE(oddNumber(draw), places + 8 * draw(levels[0]?.tiles ?? 1));
      const { base, tiles } = levels[draw(levels.length)] ?? { base: 8192, tiles: 1 };
      disk.bytes[base + draw(tiles * 8192)] = draw(256);
    }
  },
};

/** A device that counts what is read of it, and refuses where that is too much. */
function bounded(disk: FakeDisk): Device {
  let read = 0;
  const { device } = disk;
  const counting = (into: Uint8Array, offset: number, length: number, at: number): unknown => {
    read += length;
    assert(read <= MAX_READS * CAPACITY, `${read} bytes read`);
    assert(into.length <= 2 ** 21, `${into.length} bytes asked for`);
    return (device.read as (...args: unknown[]) => unknown)(into, offset, length, at);
  };
  return { ...device, read: counting } as unknown as Device;
}

const expected = (error: unknown): boolean =>
  error instanceof RangeError || (error instanceof RefusalError && error.code === 'log');

/** Whatever an opened log gives is of the tree that it says it has. */
async function asked(log: RecordLog, draw: Draw): Promise<void> {
  const { size, root } = log.durable;
  const index = log.minimum + draw(Math.max(1, size - log.minimum));
  const [held, path] = await Promise.all([log.entries(index, 1), log.inclusion(index, size)]);
  assert(equalBytes(rootFromPath(leafHash(held[0] ?? new Uint8Array()), index, size, path) ?? new Uint8Array(), root));
  await log.tile({ level: 0, index: Math.floor(index / 256), width: 1 });
  await log.consistency(Math.max(1, index), size);
}

for (const [name, spoil] of Object.entries(SPOILS))
  test(`${name}: opened or refused`, async () => {
    const whole = await honest();
    const draw = seededDraw(name);
    for (let run = 0; run < count(25, 2000, 5); run++) {
      const disk = whole.copy();
      spoil(disk, draw);
      const device = bounded(disk);
      const log = await RecordLog.open(device, CAPACITY).catch((error: unknown) => {
        assert(expected(error), `${error}`);
      });
      if (log === undefined) continue;
      for (let times = 0; times < 3; times++)
        await asked(log, draw).catch((error: unknown) => assert(expected(error), `${error} ${(error as Error).stack}`));
      await log.append(entry('more')).catch((error: unknown) => assert(expected(error), `${error}`));
      await auditLog(async (at, length) => disk.bytes.subarray(at, at + length), CAPACITY);
    }
  });

test('parsers take any bytes, and refuse by a decode error', () => {
  const draw = seededDraw('parsers');
  const { maxBlock } = logLayout(CAPACITY);
  for (let run = 0; run < count(3000, 300_000, 500); run++) {
    const bytes = Buffer.alloc(draw(3) === 0 ? draw(maxBlock) : 512);
    bytes.write(draw(2) === 0 ? 'ENCLBLK\0' : 'ENCLLOG\0');
    for (let times = draw(40); times > 0; times--)
      bytes[8 + draw(Math.max(1, Math.min(bytes.length, 120) - 8))] = draw(256);
    const length = bytes.length >= 12 ? bytes.readUInt32BE(8) : 0;
    if (draw(2) === 0 && length >= 40 && length <= bytes.length) sealBlock(bytes, length);
    for (const parse of [() => parseBlock(bytes, draw(4) * 512), () => parseSuperblock(bytes.subarray(0, 512))]) {
      try {
        parse();
      } catch (error) {
        assert(error instanceof DecodeError, `${error}`);
      }
    }
  }
});
