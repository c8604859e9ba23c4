/**
 * Every tampering with a log's disk is named by its auditor, or, if only an outside tree can show
 * it, against that tree; an honest disk has no fault.
 */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sha256 } from '@enclaim/attestation/digest';
import {
  auditLog,
  type Block,
  blockLength,
  encodeSuperblock,
  type KnownTree,
  type LogFault,
  offsetOf,
  sealBlock,
  sectors,
  writeBlockHead,
} from '@enclaim/attestation/log-disk';
import { leafHash, merkleRoot } from '@enclaim/attestation/merkle';
import { parseSuperblock } from '../../../attestation/src/log/superblock.ts';
import { count } from '../../../test/support/long.ts';
import { type Draw, entry, FakeDisk, numbers, seededDraw } from './support.ts';

const CAPACITY = 1024 * 1024;

/** A log with its history: what an outsider knows of it, and its disk of before. */
interface Scene {
  readonly disk: FakeDisk;
  readonly known: KnownTree;
  readonly yesterday: FakeDisk;
  readonly blocks: readonly Block[];
}

/** A log of some hundred records in blocks of different sizes, with both superblocks. */
async function scene(): Promise<Scene> {
  const disk = new FakeDisk(CAPACITY);
  let yesterday = disk;
  for (let boot = 0; boot < 3; boot++) {
    const log = await disk.open();
    for (let round = 0; round < 30; round++) {
      const placed = numbers(1 + ((round * 7) % 11), log.size).map((reason) => log.place(entry(reason)));
      await placed.at(-1)?.durable;
    }
    if (boot === 1) yesterday = disk.copy();
  }
  const { durable: known } = await disk.open();
  const journal = disk.reader.journal(4096);
  const blocks: Block[] = [];
  for (let at = 0; blocks.at(-1)?.size !== known.size; at += sectors(blocks.at(-1)?.length ?? 0))
    blocks.push(await journal.block(at));
  return { disk, known, yesterday, blocks };
}

const audit = (disk: FakeDisk, known: readonly KnownTree[] = []) =>
  auditLog(async (at, length) => disk.bytes.subarray(at, at + length), CAPACITY, known);

/** What a tampering does to a copy of the disk. */
type Tampering = (disk: FakeDisk, scene: Scene, draw: Draw) => void;

/** Where a block stands on the disk. */
function atOf(disk: FakeDisk, { position, length }: Block): { at: number; bytes: Buffer } {
  const at = offsetOf(disk.layout, position);
  return { at, bytes: disk.bytes.subarray(at, at + sectors(length)) };
}

/** Writes blocks anew from one on, with these entries: as well as anybody can who holds no key. */
function rewrite(
  disk: FakeDisk,
  blocks: readonly Block[],
  from: number,
  entries: readonly (readonly Uint8Array[])[],
): void {
  const leaves = blocks.slice(0, from).flatMap((block) => block.entries.map(leafHash));
  let prior: Uint8Array = blocks[from - 1]?.hash ?? new Uint8Array(32);
  let position = blocks[from]?.position ?? 0;
  for (const each of entries) {
    const first = leaves.length;
    leaves.push(...each.map(leafHash));
    const size = leaves.length;
    const length = blockLength(
      size,
      each.reduce((sum, { length }) => sum + 2 + length, 0),
    );
    const out = Buffer.alloc(sectors(length));
    let at = writeBlockHead(
      out,
      { length, count: each.length, position, first, size, prior, sequence: 1 },
      frontierOf(leaves),
    );
    for (const one of each) {
      at = out.writeUInt16BE(one.length, at);
      at += Buffer.from(one).copy(out, at);
    }
    prior = sealBlock(out, length);
    disk.bytes.set(out, offsetOf(disk.layout, position));
    position += out.length;
  }
}

function frontierOf(leaves: readonly Uint8Array[]): Uint8Array[] {
  const frontier: Uint8Array[] = [];
  for (let at = 0, span = 2 ** 30; span >= 1; span /= 2)
    if (leaves.length & span) {
      frontier.push(merkleRoot(leaves.slice(at, at + span)));
      at += span;
    }
  return frontier;
}

const flip = (bytes: Buffer, at: number, bit: number): void => {
  bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
};
const pick = <T>(from: readonly T[], draw: Draw): T => from[draw(from.length)] ?? assert.fail();
/** A record with another letter in it. */
const edited = (record: Uint8Array): Uint8Array => {
  const other = Buffer.from(record);
  other[other.indexOf('allow')] = 0x62;
  return other;
};

const eraseSuperblock = (disk: FakeDisk, slot: number): void => void disk.bytes.fill(0, 4096 * slot, 4096 * slot + 512);

/** Tamperings that the disk alone shows. */
const SHOWN: Readonly<Record<string, Tampering>> = {
  'a bit of a block flipped': (disk, { blocks }, draw) => {
    const { bytes } = atOf(disk, pick(blocks, draw));
    flip(bytes, draw(bytes.length), draw(8));
  },
  'a row edited, its block hashed anew': (disk, { blocks }, draw) => {
    const block = pick(blocks, draw);
    const { bytes } = atOf(disk, block);
    const rows = [...bytes.toString('latin1').matchAll(/"allow"/g)];
    bytes[pick(rows, draw).index + 1] = 0x62;
    sealBlock(bytes, block.length);
  },
  'a row edited, its block made anew with its tree': (disk, { blocks }, draw) => {
    const at = draw(blocks.length - 1);
    const entries = [...(blocks[at]?.entries ?? [])];
    const row = draw(entries.length);
    entries[row] = edited(entries[row] ?? new Uint8Array());
    rewrite(disk, blocks, at, [entries]);
  },
  'a row dropped': (disk, { blocks }, draw) => {
    const at = draw(blocks.length - 1);
    rewrite(disk, blocks, at, [(blocks[at]?.entries ?? []).slice(1)]);
  },
  'a row added': (disk, { blocks }, draw) => {
    const at = draw(blocks.length - 1);
    const entries = blocks[at]?.entries ?? [];
    rewrite(disk, blocks, at, [[...entries, edited(entries[0] ?? new Uint8Array())]]);
  },
  'two blocks swapped': (disk, { blocks }, draw) => {
    const one = draw(blocks.length - 1);
    const [first, second] = [
      atOf(disk, pick(blocks.slice(one, one + 1), draw)),
      atOf(disk, pick(blocks.slice(one + 1), draw)),
    ];
    const [a, b] = [Buffer.from(first.bytes), Buffer.from(second.bytes)];
    disk.bytes.set(b, first.at);
    disk.bytes.set(a, second.at);
  },
  'a block erased': (disk, { blocks }, draw) => void atOf(disk, pick(blocks.slice(0, -1), draw)).bytes.fill(0),
  'a superblock erased': (disk, _, draw) => eraseSuperblock(disk, draw(2)),
  'a bit of a superblock flipped': (disk, _, draw) => flip(disk.bytes, 4096 * draw(2) + draw(512), draw(8)),
  'a superblock of yesterday': (disk, { yesterday }, draw) => {
    const slot = 4096 * draw(2);
    disk.bytes.set(yesterday.bytes.subarray(slot, slot + 512), slot);
  },
  'a superblock that names another block': (disk, { blocks }, draw) => {
    const slot = 4096 * draw(2);
    const block = pick(blocks, draw);
    const old = parseSuperblock(disk.bytes.subarray(slot, slot + 512));
    disk.bytes.set(
      encodeSuperblock({ ...old, size: block.size, position: block.position, block: sha256(old.block) }),
      slot,
    );
  },
  'a bit of a tile flipped': (disk, _, draw) => {
    const { base } = disk.layout.levels[0] ?? { base: 0 };
    flip(disk.bytes, base + draw(settledOf(disk) * 32), draw(8));
  },
  'a bit of a place flipped': (disk, _, draw) => {
    const places = Math.ceil(settledOf(disk) / 256);
    flip(disk.bytes, disk.layout.places + draw(places * 8), draw(8));
  },
};

/** Tamperings that only an outside tree can show. */
const KNOWN: Readonly<Record<string, Tampering>> = {
  'the tail cut': (disk, { blocks }, draw) => {
    for (const block of blocks.slice(1 + draw(blocks.length - 1))) atOf(disk, block).bytes.fill(0);
    disk.bytes.fill(0, 0, 8192);
  },
  'the disk of yesterday': (disk, { yesterday }) => void disk.bytes.set(yesterday.bytes),
  'all made anew from a block on': (disk, { blocks }, draw) => {
    const at = draw(blocks.length);
    const entries = blocks.slice(at).map((block) => block.entries);
    rewrite(disk, blocks, at, [(entries[0] ?? []).map(edited), ...entries.slice(1)]);
    disk.bytes.fill(0, 0, 8192);
  },
  'an empty disk': (disk) => void disk.bytes.fill(0),
};

function settledOf(disk: FakeDisk): number {
  const sizes = [0, 4096].map((at) => parseSuperblock(disk.bytes.subarray(at, at + 512)).size);
  return Math.max(...sizes);
}

test('an honest disk has no fault, after each boot and beside a known tree', async () => {
  const { disk, known, yesterday } = await scene();
  for (const each of [disk, yesterday, new FakeDisk(CAPACITY)]) assert.deepEqual((await audit(each)).faults, []);
  const { head, faults, uncompared } = await audit(disk, [known]);
  assert.deepEqual([head, faults, uncompared], [known, [], []]);
});

for (const [tamperings, alone] of [
  [SHOWN, true],
  [KNOWN, false],
] as const)
  for (const [name, tamper] of Object.entries(tamperings))
    test(`${name}: named ${alone ? 'by the disk alone' : 'beside a known tree'}`, async () => {
      const whole = await scene();
      const draw = seededDraw(name);
      for (let run = 0; run < count(12, 120, 3); run++) {
        const disk = whole.disk.copy();
        tamper(disk, whole, draw);
        const named = (found: readonly LogFault[]): boolean => found.length > 0;
        const { faults } = await audit(disk, alone ? [] : [whole.known]);
        assert(disk.bytes.equals(whole.disk.bytes) || named(faults), `run ${run} has no fault`);
      }
    });
