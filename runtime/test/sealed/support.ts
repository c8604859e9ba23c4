/** Sealed stores for tests: on a disk in memory, with a keeper and a clock that tests move. */

import { FakeKeeper } from '../../../test/fakes/keeper.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Device } from '../../src/log/device.ts';
import { RecordLog } from '../../src/log/record-log.ts';
import type { Room } from '../../src/storage/bounds.ts';
import type { Change, Collection, Put } from '../../src/storage/collection.ts';
import type { RecordForm } from '../../src/storage/record-form.ts';
import { SealedStore } from '../../src/storage/sealed/sealed-store.ts';
import { type Json, jsonText } from '../../src/worker/json-text.ts';
import { entry, FakeDisk } from '../log/support.ts';

export const MIB: number = 1024 * 1024;

/** A clock that tests move. */
export class TestClock {
  #now: number;

  constructor(now = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  notBefore(wall: number): void {
    this.#now = Math.max(this.#now, wall);
  }

  pass(milliseconds: number): void {
    this.#now += milliseconds;
  }
}

export interface RigOptions {
  readonly disk?: FakeDisk;
  /** In place of the disk's own. */
  readonly device?: Device;
  readonly keeper?: FakeKeeper;
  readonly clock?: TestClock;
  readonly system?: string;
  readonly collections?: Readonly<Record<string, number>>;
  readonly room?: Room;
  /** The form of the records of all collections. */
  readonly form?: RecordForm | undefined;
}

/** A record as a text that is found by its tag, by a form of some shape. */
export function taggedForm(shape = 'tagged', fields: readonly string[] = ['tag']): RecordForm {
  const valueIn = (record: unknown, field: string): string | null => {
    const value = (record as Readonly<Record<string, unknown>> | null)?.[field];
    return typeof value === 'string' ? value : null;
  };
  return {
    fields,
    shape,
    valuesOf: (record) => {
      if (typeof record !== 'object') throw new RefusalError('worker', 'a record that is no object');
      return fields.map((field) => valueIn(record, field));
    },
    searchOf: (where) => {
      const index = fields.findIndex((field) => valueIn(where, field) !== null);
      return { index, value: valueIn(where, fields[index] ?? '') ?? '', label: [] };
    },
  };
}

/** A boot with a log and a store. */
export class Rig {
  readonly disk: FakeDisk;
  readonly keeper: FakeKeeper;
  readonly clock: TestClock;
  readonly log: RecordLog;
  readonly store: SealedStore;

  private constructor(
    options: Required<Pick<RigOptions, 'disk' | 'keeper' | 'clock'>>,
    log: RecordLog,
    store: SealedStore,
  ) {
    this.disk = options.disk;
    this.keeper = options.keeper;
    this.clock = options.clock;
    this.log = log;
    this.store = store;
  }

  static async boot(options: RigOptions = {}): Promise<Rig> {
    const { disk = new FakeDisk(2 * MIB), keeper = new FakeKeeper(), clock = new TestClock() } = options;
    const { system = 'test', collections = { cases: 1000 }, room, form } = options;
    const log = await RecordLog.open(options.device ?? disk.device, disk.bytes.length);
    const facts = Object.entries(collections).map(
      ([name, retention]) => [name, { retention, form, ...(room && { room }) }] as const,
    );
    const store = await SealedStore.open({ keeper, log, system, clock, collections: new Map(facts) });
    return new Rig({ disk, keeper, clock }, log, store);
  }

  /** The next boot on the same disk. */
  again(options: RigOptions = {}): Promise<Rig> {
    return Rig.boot({ disk: this.disk.copy(), keeper: this.keeper, clock: this.clock, ...options });
  }

  get cases(): Collection {
    return this.collection('cases');
  }

  collection(name: string): Collection {
    const found = this.store.collections.get(name);
    if (found === undefined) throw new TypeError(name);
    return found;
  }

  /** Keys of a collection's records that have a value in an index. */
  found(value: string, index = 0, name = 'cases'): readonly string[] {
    const page = { prefix: '', after: '', limit: Number.POSITIVE_INFINITY };
    return this.collection(name).list({ ...page, where: { index, value } }).keys;
  }

  /** A call that makes changes, and its record. Returns what settles with its block. */
  call(changes: readonly Change[], name = 'cases'): Promise<unknown> {
    const collection = this.collection(name);
    collection.check(changes);
    const { durable } = this.log.place(entry('call'));
    collection.apply([...changes]);
    return durable;
  }
}

let versions = 0;

/** A value that is stored. */
export function put(key: string, value: Json, more: Partial<Put> = {}): Put {
  const version = (++versions).toString(16).padStart(16, '0');
  return {
    kind: 'put',
    key,
    value: jsonText(value),
    label: [],
    since: Number.POSITIVE_INFINITY,
    owner: 'a',
    version,
    ...more,
  };
}
