/**
 * The log: durable appends beside the chain of before and beside writes of as many bytes that do
 * nothing else, opening, proofs, and a ring that forgets.
 *
 * `node bench/log.ts [--appends] [--large]`: with `--appends` these alone; with `--large` also
 * opening 10⁷ records, which takes 8 GiB of disk and some minutes. Files stand for the disk; each
 * write waits for it (`O_DSYNC`).
 */

import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FirstRecord } from '@enclaim/attestation/record';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { type Device, openDevice } from '../runtime/src/log/device.ts';
import { type Entry, RecordLog } from '../runtime/src/log/record-log.ts';
import { freshHex } from '../runtime/src/random-pool.ts';
import { ChainLog } from './log-chain.ts';
import { scratchFolder } from './scratch.ts';

const MIB = 1024 * 1024;
const ROUNDS = 3;
/** Rounds before those, in which the engine compiles what runs often. */
const WARM_ROUNDS = 1;
const WARM_PAIRS = 500;
const SECONDS = 1.5;
const SECTOR = 512;
/** Bytes of a record of this bench. */
const RECORD = 470;
const folder = await scratchFolder();
let files = 0;

/** A file of so many bytes with all its blocks, as a disk has them. */
async function diskOf(bytes: number, filled = true): Promise<string> {
  const path = join(folder, `${files++}`);
  await using file = await open(path, 'w');
  if (!filled) await file.truncate(bytes);
  else for (let at = 0; at < bytes; at += MIB) await file.write(new Uint8Array(Math.min(MIB, bytes - at)));
  await file.sync();
  return path;
}

const FIELDS = {
  timeStrength: 'host',
  layer: 'runtime',
  system: 'clinic',
  policyDigest: `sha384:${'5e'.repeat(48)}`,
  decision: 'allow',
  reason: 'ok',
  method: 'clinic.v1.Intake/Submit',
  label: ['personal.contact.email', 'personal.health'],
  sink: null,
  basis: 'enforced',
} as const;
const clock = new BootClock(anchorTime());
const time = (): string => clock.text();
const record = (): Entry => ({
  ...FIELDS,
  v: 2,
  id: freshHex(16),
  time: time(),
  claims: ['access-logged'],
  figures: { response: 1 },
});
const chained = (): Omit<FirstRecord, 'prev'> => ({
  ...FIELDS,
  v: 1,
  ...{ id: freshHex(16), time: time(), claim: 'access-logged', controls: [], figures: { response: 1 } },
});

interface Appends {
  readonly rate: number;
  readonly cpu: number;
  readonly p50: number;
}

/** Appends by so many writers, each waiting for its record, for some seconds. */
async function appends(place: () => { readonly durable: Promise<unknown> }, writers: number): Promise<Appends> {
  const times: number[] = [];
  const before = process.cpuUsage();
  const began = performance.now();
  const write = async (): Promise<void> => {
    for (let at = performance.now(); at - began < SECONDS * 1000; at = performance.now()) {
      await place().durable;
      times.push(performance.now() - at);
    }
  };
  await Promise.all(Array.from({ length: writers }, write));
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  times.sort((one, other) => one - other);
  return { rate: times.length / seconds, cpu: (user + system) / times.length, p50: times[times.length >> 1] ?? 0 };
}

const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** Writes of as many bytes as so many writers' records have, one after another. */
async function writes(device: Device, size: number, writers: number): Promise<Appends> {
  const block = Buffer.alloc(Math.ceil((RECORD * writers) / SECTOR) * SECTOR);
  const times: number[] = [];
  const before = process.cpuUsage();
  const began = performance.now();
  for (let at = began, to = 0; at - began < SECONDS * 1000; at = performance.now()) {
    await device.write(block, 0, block.length, to);
    to = (to + block.length) % (size - block.length);
    times.push(performance.now() - at);
  }
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(before);
  const records = times.length * writers;
  return { rate: records / seconds, cpu: (user + system) / records, p50: middle(times) };
}

/**
 * Waits of a caller for its record, one at a time, and for the write alone of as many sectors, in
 * pairs on one disk.
 */
async function pairs(count: number): Promise<void> {
  const size = 96 * MIB;
  await using logDevice = (await openDevice(await diskOf(size))) as Awaited<ReturnType<typeof open>>;
  await using bareDevice = (await openDevice(await diskOf(size))) as Awaited<ReturnType<typeof open>>;
  const log = await RecordLog.open(logDevice, size);
  const block = Buffer.alloc(2 * SECTOR);
  const found: { log: number; bare: number }[] = [];
  const logged = async (): Promise<number> => {
    const began = performance.now();
    await log.place(record()).durable;
    return performance.now() - began;
  };
  const bare = async (at: number): Promise<number> => {
    const began = performance.now();
    await bareDevice.write(block, 0, block.length, at);
    return performance.now() - began;
  };
  for (let i = 0; i < count + WARM_PAIRS; i++) {
    // Whichever comes first: the second finds the disk's queue as the first left it.
    const one = i % 2 === 0 ? await logged() : undefined;
    const other = await bare(i * block.length);
    const pair = { log: one ?? (await logged()), bare: other };
    if (i >= WARM_PAIRS) found.push(pair);
  }
  const [durable, alone] = [middle(found.map(({ log }) => log)), middle(found.map(({ bare }) => bare))];
  const between = middle(found.map(({ log, bare }) => log - bare));
  console.log(
    `\n${count} pairs, one writer, ms p50: record ${durable.toFixed(3)}, its write alone ${alone.toFixed(3)}, ` +
      `difference ${(durable - alone).toFixed(3)}, within a pair ${between.toFixed(3)}`,
  );
}

async function compareAppends(): Promise<void> {
  console.log(`\nDurable appends, ${ROUNDS} rounds in turn, medians: a second, µs of processor a record, ms p50`);
  // **Bound**: what the fastest round writes on an idle machine, thrice.
  const size = 512 * MIB;
  for (const writers of [1, 16, 64, 256]) {
    const found: Record<'writes' | 'chain' | 'tree', Appends[]> = { writes: [], chain: [], tree: [] };
    for (let round = -WARM_ROUNDS; round < ROUNDS; round++) {
      const [one, other] = [await diskOf(size), await diskOf(size)];
      await using chainDevice = (await openDevice(one)) as Awaited<ReturnType<typeof open>>;
      const chain = await ChainLog.open(chainDevice, size);
      const chainAppends = await appends(() => chain.place(chained()), writers);
      await using treeDevice = (await openDevice(other)) as Awaited<ReturnType<typeof open>>;
      const tree = await RecordLog.open(treeDevice, size);
      const treeAppends = await appends(() => tree.place(record()), writers);
      const alone = await writes(treeDevice, size, writers);
      if (round >= 0) {
        found.chain.push(chainAppends);
        found.tree.push(treeAppends);
        found.writes.push(alone);
      }
      for (const path of [one, other]) await rm(path);
    }
    const line = (each: readonly Appends[]): string =>
      [each.map(({ rate }) => rate), each.map(({ cpu }) => cpu), each.map(({ p50 }) => p50)]
        .map((values, i) =>
          middle(values)
            .toFixed(i === 0 ? 0 : i === 1 ? 1 : 2)
            .padStart(8),
        )
        .join('');
    console.log(
      `${String(writers).padStart(4)} writers   chain${line(found.chain)}   tree${line(found.tree)}   writes alone${line(found.writes)}`,
    );
  }
}

/** Fills a log with records, many a write. */
async function fill(log: RecordLog, records: number, each?: () => void): Promise<void> {
  for (let left = records; left > 0; left -= 1000) {
    let last: Promise<unknown> = Promise.resolve();
    for (let i = 0; i < Math.min(1000, left); i++) last = log.place(record()).durable;
    await last;
    each?.();
  }
}

async function timed<T>(name: string, step: () => Promise<T>): Promise<T> {
  const before = process.cpuUsage();
  const began = performance.now();
  const result = await step();
  const { user, system } = process.cpuUsage(before);
  const seconds = (performance.now() - began) / 1000;
  console.log(
    `${name.padEnd(58)}${seconds.toFixed(2).padStart(9)} s${((user + system) / 1e6).toFixed(2).padStart(9)} s cpu`,
  );
  return result;
}

/** Bytes of a disk for so many records: a quarter of it is for sealed state, a ninth for hashes. */
function diskFor(records: number): number {
  return Math.ceil((records * 850) / MIB) * MIB + 64 * MIB;
}

async function openings(records: number): Promise<string> {
  const size = diskFor(records);
  const path = await diskOf(size, false);
  const device = (await openDevice(path)) as Awaited<ReturnType<typeof open>>;
  await timed(`writing ${records} records`, async () => fill(await RecordLog.open(device, size), records));
  const { root } = await timed(
    `opening ${records} records by a superblock`,
    async () => (await RecordLog.open(device, size)).began,
  );
  const superblocks = new Uint8Array(8192);
  await device.read(superblocks, 0, superblocks.length, 0);
  await device.write(new Uint8Array(8192), 0, 8192, 0);
  const found = await timed(
    `opening ${records} records by nothing`,
    async () => (await RecordLog.open(device, size)).began,
  );
  if (found.root.toHex() !== root.toHex()) throw new Error('another root');
  await device.write(superblocks, 0, superblocks.length, 0);
  await device.close();
  return path;
}

async function proofs(path: string, records: number): Promise<void> {
  const size = diskFor(records);
  await using device = (await openDevice(path)) as Awaited<ReturnType<typeof open>>;
  const log = await RecordLog.open(device, size);
  const average = async (name: string, count: number, step: (i: number) => Promise<unknown>): Promise<void> => {
    const before = process.cpuUsage();
    const began = performance.now();
    for (let i = 0; i < count; i++) await step(i);
    const wall = ((performance.now() - began) * 1000) / count;
    const { user, system } = process.cpuUsage(before);
    console.log(
      `${name.padEnd(58)}${wall.toFixed(1).padStart(8)} µs${((user + system) / count).toFixed(1).padStart(8)} µs cpu`,
    );
  };
  const within = 60_000; // 235 tiles of level 0, and those above: they stay in the cache
  const recent = (): number => records - 1 - Math.floor(Math.random() * within);
  await average('a proof, tile not read yet', 200, (i) => log.inclusion(i * 4096, records));
  for (let i = 0; i < within; i += 256) await log.inclusion(records - 1 - i, records);
  await average('a proof, warm', 20_000, () => log.inclusion(recent(), records));
  await average('a proof of consistency, warm', 5000, () => log.consistency(recent(), records));
  await average('a tile, warm', 5000, () => log.tile({ level: 0, index: Math.floor(recent() / 256) - 1, width: 256 }));
  await average('an entry', 500, () => log.entries(recent(), 1));
}

async function ring(records: number): Promise<void> {
  const size = 16 * MIB;
  const device: Device = await openDevice(await diskOf(size));
  const log = await RecordLog.open(device, size);
  await timed(`a ring of 16 MiB, ${records} records, forgetting`, () =>
    fill(log, records, () => log.forget(Math.max(0, log.durable.size - 5000))),
  );
  const again = await timed('opening it', () => RecordLog.open(device, size));
  console.log(`size ${again.began.size}, minimum ${again.minimum}, room ${again.room}`);
  const why = await fill(again, records).catch((error: unknown) => `${error}`);
  console.log(`without forgetting: ${again.durable.size - records} records more, then ${why}`);
}

try {
  await compareAppends();
  await pairs(3000);
  if (!process.argv.includes('--appends')) await readings();
} finally {
  await rm(folder, { recursive: true });
}

async function readings(): Promise<void> {
  console.log('\nOpening');
  const path = await openings(1_000_000);
  console.log('\nProofs in a log of 10⁶ records');
  await proofs(path, 1_000_000);
  await rm(path);
  console.log(`bytes of a path at 10⁸: ${27 * 32}`);
  if (process.argv.includes('--large')) await rm(await openings(10_000_000));
  console.log('\nRing');
  await ring(1_000_000);
}
