/**
 * The sealed store beside plain `node:sqlite` (WAL, synchronous=full), in one run: durable puts,
 * batches of 100, get, list of 100, delete, bytes of index per record, opening, and the longest
 * stop of the loop while an epoch begins. Both take turns; a first round of each is not counted,
 * because the engine compiles in it what runs for every step. Figures are medians of five more.
 *
 * `node bench/store.ts [--million]`: with it also 10⁶ records, which takes 5 GiB of disk and some
 * minutes. Files stand for the disk; each write waits for it (`O_DSYNC`). A keeper in this process
 * stands for the TPM, whose own time is added to an opening and an epoch.
 */

import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';
import { anchorTime, BootClock } from '../runtime/src/clock.ts';
import { openDevice } from '../runtime/src/log/device.ts';
import { type Entry, RecordLog } from '../runtime/src/log/record-log.ts';
import { freshHex } from '../runtime/src/random-pool.ts';
import type { Put } from '../runtime/src/storage/collection.ts';
import { SealedStore } from '../runtime/src/storage/sealed/sealed-store.ts';
import { type JsonText, jsonText } from '../runtime/src/worker/json-text.ts';
import { FakeKeeper } from '../test/fakes/keeper.ts';
import { scratchFolder } from './scratch.ts';

const MIB = 1024 * 1024;
const VALUE = 'v'.repeat(1000);
const folder = await scratchFolder();
const clock = new BootClock(anchorTime());

/** One of the two stores that are compared. */
interface Shop {
  /** Stores values, all in one durable step. */
  put(keys: readonly string[]): Promise<void>;
  get(key: string): Promise<string | undefined>;
  list(prefix: string): readonly string[];
  remove(key: string): Promise<void>;
  close(): Promise<void>;
}

function entry(): Entry {
  return {
    ...{ v: 2, id: freshHex(16), time: clock.text(), timeStrength: 'host', layer: 'runtime', system: 'bench' },
    ...{ policyDigest: `sha384:${'0'.repeat(96)}`, claims: [], decision: 'allow', reason: 'ok', method: null },
    ...{ label: [], sink: null, figures: {}, basis: 'enforced' },
  } as Entry;
}

const put = (key: string): Put => ({
  ...{ kind: 'put', key, value: jsonText(VALUE), label: ['health'], owner: 'a', version: freshHex(8) },
  since: Number.POSITIVE_INFINITY,
});

class Sealed implements Shop {
  readonly #path: string;
  readonly #capacity: number;
  readonly keeper: FakeKeeper = new FakeKeeper();
  #log!: RecordLog;
  store!: SealedStore;
  #close: () => Promise<void> = async () => {};

  constructor(path: string, capacity: number) {
    this.#path = path;
    this.#capacity = capacity;
  }

  async create(): Promise<void> {
    await using file = await open(this.#path, 'w');
    for (let at = 0; at < this.#capacity; at += MIB) await file.write(new Uint8Array(MIB));
    await file.sync();
  }

  async open(): Promise<void> {
    const device = await openDevice(this.#path);
    this.#log = await RecordLog.open(device, this.#capacity);
    const room = { collection: Number.POSITIVE_INFINITY, identity: Number.POSITIVE_INFINITY };
    const collections = new Map([['cases', { retention: 1e12, room }]]);
    this.store = await SealedStore.open({ keeper: this.keeper, log: this.#log, system: 'bench', collections, clock });
    this.#close = async () => {
      await this.store.close();
      await device.close();
    };
  }

  get #cases() {
    const cases = this.store.collections.get('cases');
    if (cases === undefined) throw new TypeError('cases');
    return cases;
  }

  async put(keys: readonly string[]): Promise<void> {
    const changes = keys.map(put);
    this.#cases.check(changes);
    const { durable } = this.#log.place(entry());
    this.#cases.apply(changes);
    await durable;
  }

  async get(key: string): Promise<JsonText | undefined> {
    return await this.#cases.get(key)?.value;
  }

  list(prefix: string): readonly string[] {
    return this.#cases.list({ prefix, after: '', limit: 100 }).keys;
  }

  async remove(key: string): Promise<void> {
    const changes = [{ kind: 'delete', key, label: ['health'] }] as const;
    this.#cases.check(changes);
    const { durable } = this.#log.place(entry());
    this.#cases.apply(changes);
    await durable;
  }

  close(): Promise<void> {
    return this.#close();
  }
}

class Plain implements Shop {
  readonly #path: string;
  #db!: DatabaseSync;

  constructor(path: string) {
    this.#path = path;
  }

  async open(): Promise<void> {
    this.#db = new DatabaseSync(this.#path);
    this.#db.exec(
      'pragma journal_mode = wal; pragma synchronous = full; create table if not exists t (k text primary key, v text)',
    );
    this.#put = this.#db.prepare('insert or replace into t values (?, ?)');
    this.#get = this.#db.prepare('select v from t where k = ?');
    this.#list = this.#db.prepare('select k from t where k >= ? and k < ? order by k limit 100');
    this.#delete = this.#db.prepare('delete from t where k = ?');
  }

  #put!: ReturnType<DatabaseSync['prepare']>;
  #get!: ReturnType<DatabaseSync['prepare']>;
  #list!: ReturnType<DatabaseSync['prepare']>;
  #delete!: ReturnType<DatabaseSync['prepare']>;

  async put(keys: readonly string[]): Promise<void> {
    this.#db.exec('begin');
    for (const key of keys) this.#put.run(key, VALUE);
    this.#db.exec('commit');
  }

  async get(key: string): Promise<string | undefined> {
    return (this.#get.get(key) as { v: string } | undefined)?.v;
  }

  list(prefix: string): readonly string[] {
    return this.#list.all(prefix, `${prefix}\uffff`).map(({ k }) => `${k}`);
  }

  async remove(key: string): Promise<void> {
    this.#delete.run(key);
  }

  async close(): Promise<void> {
    this.#db.close();
  }
}

const nameOf = (i: number): string => `case-${String(i).padStart(9, '0')}`;

/** Time of a step: by the clock, and of the processor. */
interface Took {
  readonly wall: number;
  readonly processor: number;
}

/** Microseconds of one step, of so many. */
async function timed(times: number, step: (i: number) => unknown): Promise<Took> {
  const [began, before] = [performance.now(), process.cpuUsage()];
  for (let i = 0; i < times; i++) await step(i);
  const { user, system } = process.cpuUsage(before);
  return { wall: ((performance.now() - began) * 1000) / times, processor: (user + system) / times };
}

/** Rounds of each that count. */
const ROUNDS = 5;

/** Puts a part of the records, 100 at once. */
async function fill(shop: Shop, from: number, records: number): Promise<Took> {
  const { wall, processor } = await timed(records / 100, (i) =>
    shop.put(Array.from({ length: 100 }, (_, j) => nameOf(from + i * 100 + j))),
  );
  return { wall: wall / 100, processor: processor / 100 };
}

function median(of: readonly number[]): number {
  return of.toSorted((one, other) => one - other)[Math.floor(of.length / 2)] ?? Number.NaN;
}

/** The median of rounds. */
function middle(of: readonly Took[]): Took {
  return { wall: median(of.map(({ wall }) => wall)), processor: median(of.map(({ processor }) => processor)) };
}

function show(what: string, sealed: Took, plain: Took): void {
  const ratio = (of: keyof Took): string => (sealed[of] / plain[of]).toFixed(2).padStart(8);
  const pair = ({ wall, processor }: Took): string => `${wall.toFixed(1)} / ${processor.toFixed(1)}`.padStart(20);
  console.log(`${what.padEnd(28)}${pair(sealed)}${pair(plain)}${ratio('wall')}${ratio('processor')}`);
}

/** Opens again. */
async function reopened(shop: Sealed | Plain, probe: string): Promise<Took> {
  await shop.close();
  return await timed(1, async () => {
    await shop.open();
    await shop.get(probe);
  });
}

/** Milliseconds that an epoch took. */
interface EpochTook {
  /** Longest stop of the loop: by the clock, and of the processor. */
  readonly stop: number;
  readonly turn: number;
  readonly all: number;
}

/** Processor of this thread, in milliseconds. */
function threadTime(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Begins an epoch. **Cost**: what a turn takes of the processor holds beside any load. */
async function epochOf(store: SealedStore): Promise<EpochTook> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  delay.enable();
  let [last, turn] = [threadTime(), 0];
  const ticks = setInterval(() => {
    const now = threadTime();
    turn = Math.max(turn, now - last);
    last = now;
  }, 1);
  const began = performance.now();
  await store.advance();
  const all = performance.now() - began;
  clearInterval(ticks);
  delay.disable();
  return { stop: delay.max / 1e6, turn, all };
}

async function compare(records: number): Promise<void> {
  const capacity = Math.ceil((records * 4200) / MIB + 256) * MIB;
  const sealed = new Sealed(join(folder, `sealed-${records}`), capacity);
  const plain = new Plain(join(folder, `plain-${records}`));
  await sealed.create();
  await Promise.all([sealed.open(), plain.open()]);
  console.log(
    `\n${records} records of ${VALUE.length} bytes; µs by the clock / of the processor: sealed, plain, ratios`,
  );
  const both = async (what: string, step: (shop: Shop, round: number) => Promise<Took>): Promise<void> => {
    const took: [Took, Took][] = [];
    for (let round = 0; round <= ROUNDS; round++) took.push([await step(sealed, round), await step(plain, round)]);
    const counted = took.slice(1);
    show(what, middle(counted.map(([one]) => one)), middle(counted.map(([, other]) => other)));
  };
  const part = Math.ceil(records / (ROUNDS + 1) / 100) * 100;
  const spread = (i: number, round: number): string => nameOf(((i + round * 3001) * 7919) % records);
  await both('put, 100 at once, a record', (shop, round) => fill(shop, round * part, part));
  await both('put, durable', (shop, round) => timed(400, (i) => shop.put([spread(i, round)])));
  await both('get', (shop, round) => timed(20_000, (i) => shop.get(spread(i, round))));
  await both('list of 100', (shop, round) => timed(1000, (i) => shop.list(spread(i, round).slice(0, -2))));
  await both('delete, durable', (shop, round) => timed(150, (i) => shop.remove(spread(i, round))));
  const { stop, turn, all } = await epochOf(sealed.store);
  console.log(
    `epoch: ${all.toFixed(0)} ms, longest stop of the loop ${stop.toFixed(1)} ms, ${turn.toFixed(1)} of the processor`,
  );
  console.log(`index: ${(sealed.store.indexBytes / sealed.store.places).toFixed(0)} bytes a record`);
  console.log(`resident: ${(process.memoryUsage().rss / MIB).toFixed(0)} MiB`);
  const probe = nameOf(records - 1);
  show('open behind an epoch', await reopened(sealed, probe), await reopened(plain, probe));
  show('open behind a boot', await reopened(sealed, probe), await reopened(plain, probe));
  await Promise.all([sealed.close(), plain.close()]);
}

try {
  await compare(100_000);
  if (process.argv.includes('--million')) await compare(1_000_000);
} finally {
  await rm(folder, { recursive: true, force: true });
}
