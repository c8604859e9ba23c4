/** One collection of a sealed store. */

import { randomBytes } from 'node:crypto';
import { RefusalError } from '../../errors.ts';
import type { Carried } from '../../log/commit-queue.ts';
import type { RecordLog } from '../../log/record-log.ts';
import type { JsonText } from '../../worker/json-text.ts';
import { conflictIn, type Room } from '../bounds.ts';
import type { Change, Collection, Found, FoundKeys, KeyRange } from '../collection.ts';
import { after, at, dueOf, type Mutation, type Place } from '../place.ts';
import type { IndexedValues, RecordForm } from '../record-form.ts';
import { Blinding, hasTerm, type SoughtTerm, soughtBy } from '../terms.ts';
import type { Epoch } from './epoch.ts';
import { type Changed, type Changes, type Layout, layoutOf, type NewValue, sealFrame } from './frame.ts';
import type { IndexTable } from './index-table.ts';
import { type NamedPlace, rowName, type Value } from './row.ts';
import { KEY_BYTES, openValue, sealedBytes, sealValue, valueScope } from './seals.ts';
import { Beside, count, type Taken } from './taken.ts';

/** The parts of a store that its collections share. */
export interface Shared {
  readonly system: string;
  readonly log: Pick<RecordLog, 'expect' | 'expectNothing' | 'carry' | 'carryLate' | 'state'>;
  readonly table: IndexTable;
  readonly epoch: Epoch;
  /** The key of all blinded terms of the store, which is kept in its index. */
  readonly blinding: Uint8Array;
  readonly now: () => number;
  /** Bytes of the index that its slots have room for. */
  readonly most: number;
  /** The part of these that calls leave to what an owner keeps. */
  readonly owners: number;
  /** Bytes of a slot for what waits to be durable, at most. */
  pending: number;
  /** The same for what was checked in this turn and is not made yet, by collection. */
  readonly checked: Map<Collection, number>;
  /** Forgets what has expired at an instant. */
  sweep(now: number): void;
  /** Hears when a place next changes by itself. */
  due(at: number): void;
}

/** Facts of a policy about a collection. */
export interface CollectionFacts {
  readonly name: string;
  /** Its number in the index. */
  readonly number: number;
  /** Milliseconds; may be infinite. */
  readonly retention: number;
  readonly room: Room;
  /** Undefined where its records are any JSON. */
  readonly form?: RecordForm | undefined;
}

/** A value as it was read from the disk, and where. */
export interface ReadValue {
  readonly bytes: Buffer;
  readonly from: number;
}

/** A change that is not durable yet. */
interface Pending {
  readonly place: Place<Value> | undefined;
}

/** Changes that were checked, as they will be made. */
interface Checked {
  readonly changes: readonly Change[];
  readonly part: Part;
}

/** A planned change, with the place as it is now. */
interface Planned extends Changed {
  readonly held: Place<Value> | undefined;
}

/** The same, with the key that a new value gets. */
interface Made extends Planned {
  readonly isNew: boolean;
}

/** Changes of one part of a block. */
interface Part {
  readonly made: readonly Made[];
  readonly layout: Layout;
}

/** Places that a list looks at. */
interface Range {
  readonly prefix: string;
  /** The key behind which they are. */
  readonly last: string;
  /** How many are wanted, if all that are looked at are. */
  readonly limit: number;
  readonly sought: SoughtTerm | undefined;
}

/** Rows that are looked at together. */
const SLICE_ROWS = 256;
/** Marks in one part of a block. */
const MARKS_OF_PART = 64;
const ZERO = Buffer.of(0);
const NO_KEY = new Uint8Array(KEY_BYTES);
const NO_BYTES = new Uint8Array();

/**
 * A collection whose places outlive the boot. What is applied is read from memory until its block
 * is durable; the index has only what is.
 */
export class SealedCollection implements Collection {
  readonly facts: CollectionFacts;
  readonly form: RecordForm | undefined;
  /** Bytes that are durable, and those that readers see. */
  readonly durable: Taken;
  readonly #taken: Taken;
  readonly #shared: Shared;
  readonly #scope: Uint8Array;
  /** Undefined where it has no index. */
  readonly #blinding: Blinding | undefined;
  readonly #pending = new Map<string, Pending>();
  /** The result of the last check, for the same changes in the same turn. */
  #checked: Checked | undefined;

  constructor(shared: Shared, facts: CollectionFacts, taken: Taken) {
    this.#shared = shared;
    this.facts = facts;
    const { name, form } = facts;
    this.form = form;
    this.#blinding = form && form.fields.length > 0 ? new Blinding(shared.blinding, name, form) : undefined;
    this.#scope = valueScope(shared.system, facts.name);
    this.durable = taken;
    this.#taken = { size: taken.size, of: new Map(taken.of) };
  }

  get(key: string): Found | undefined {
    this.#shared.epoch.refuse();
    const place = at(this.#placeOf(key), this.#shared.now());
    if (place === undefined) return undefined;
    const { label, since } = place;
    if (place.value === undefined) return { value: undefined, label, since, version: undefined };
    return new Read(place, () => this.#read(key, place));
  }

  /**
   * **Leak**: what is not named tells as much as what is, so places without a value count for the
   * label.
   */
  list({ prefix, after: last, limit, where }: KeyRange): FoundKeys {
    this.#shared.epoch.refuse();
    const sought = soughtBy(this.#blinding, where);
    const now = this.#shared.now();
    const keys: string[] = [];
    const labels = new Set<readonly string[]>();
    for (const { key, hasValue, isSought, label, due } of this.#from({ prefix, last, limit, sought })) {
      if (due <= now && (!hasValue || at(this.#placeOf(key), now) === undefined)) continue;
      if (hasValue && due > now && (isSought || sought === undefined)) keys.push(key);
      labels.add(label);
      if (keys.length >= limit) break;
    }
    return { keys, label: [...new Set([...labels].flat())].sort() };
  }

  /**
   * The clock is read once: what a condition found there is there when the change is made, however
   * close its end is.
   */
  check(changes: readonly Change[]): void {
    const { epoch, log, sweep } = this.#shared;
    epoch.refuse();
    const now = this.#shared.now();
    for (const change of changes) this.#refuseConflict(change, now);
    let planned = this.#plan(changes, now);
    if (planned === undefined) {
      sweep(now);
      planned = this.#plan(changes, now);
    }
    if (planned === undefined)
      throw new RefusalError('budget', `there is no room in collection ${this.facts.name}`, { final: true });
    const part = this.#part(planned, now);
    this.#checked = { changes, part };
    if (planned.length > 0) log.expect(part.layout.head + part.layout.length);
  }

  letGo(): void {
    this.#checked = undefined;
    this.#shared.checked.delete(this);
    this.#shared.log.expectNothing();
  }

  apply(changes: readonly Change[]): void {
    // A store that failed has refused the record of the call's end, or will never show this.
    const isMarks = changes.every(({ kind }) => kind === 'mark-put' || kind === 'mark-delete');
    const checked = isMarks || !isSame(this.#checked?.changes, changes) ? undefined : this.#checked;
    this.#checked = undefined;
    if (checked !== undefined) this.#carry(checked.part);
    else {
      const now = this.#shared.now();
      const planned = this.#plan(changes, now) ?? [];
      if (isMarks) this.#mark(planned, now);
      else this.#carry(this.#part(planned, now));
    }
    this.#shared.checked.delete(this);
  }

  #carry(part: Part): void {
    if (part.made.length > 0) this.#shared.log.carry(this.#make(part));
  }

  /** Makes marks in parts that fit into any block: none of them needs another. */
  #mark(planned: readonly Planned[], now: number): void {
    const { log, epoch } = this.#shared;
    for (let from = 0; from < planned.length; from += MARKS_OF_PART) {
      const part = this.#make(this.#part(planned.slice(from, from + MARKS_OF_PART), now));
      // Not awaited: a log that takes no more has ended the calls that could see it.
      log.carryLate(part).catch((cause) => epoch.break(cause));
    }
  }

  /** Sets a place that is durable, as a frame or a sweep has it. */
  settle(key: string, place: Place<Value> | undefined, block?: number): void {
    const { table } = this.#shared;
    const name = this.#name(key);
    const held = place === undefined ? table.remove(name) : table.set(name, place, block);
    count(this.durable, key, held, -1);
    count(this.durable, key, place, 1);
  }

  /** Sets a place of a frame that is followed: readers see it, too. */
  replay(key: string, place: Place<Value> | undefined, block?: number): void {
    count(this.#taken, key, this.#shared.table.get(this.#name(key)), -1);
    count(this.#taken, key, place, 1);
    this.settle(key, place, block);
  }

  /** Forgets what has expired of a place, unless something that waits to be durable comes there. */
  expire(key: string, now: number): void {
    if (this.#pending.has(key)) return;
    this.replay(key, at(this.#shared.table.get(this.#name(key)), now));
  }

  /** The instant at which something that waits to be durable next changes by itself. */
  nextDue(): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { place } of this.#pending.values()) if (place !== undefined) next = Math.min(next, dueOf(place));
    return next;
  }

  /** Seals values anew, where they still lie where they were read. */
  moving(values: ReadonlyMap<string, ReadValue>): Carried {
    const moved = [...values].flatMap(([key, { bytes, from }]) => {
      const held = this.#shared.table.get(this.#name(key));
      if (held?.value === undefined || held.value.position !== from) {
        bytes.fill(0);
        return [];
      }
      const { length, terms } = held.value;
      const value: Value = { length, terms, key: randomBytes(KEY_BYTES), position: -1, bytes };
      return [{ key, from, value, version: held.version }];
    });
    const changes = { ...this.#changes([], this.#shared.now()), moved };
    return this.#carried(layoutOf(changes, moved), (block) => {
      for (const { key, from, value } of moved) this.move(key, from, value, block);
    });
  }

  /** Takes a value to another position, if it is still where it was. */
  move(key: string, from: number, value: Value, block: number): void {
    const held = this.#shared.table.get(this.#name(key));
    if (held?.value?.position !== from) return;
    this.settle(key, { ...held, value: { ...value, terms: held.value.terms } }, block);
  }

  /** Reads a value of the disk. @throws RefusalError `state` */
  async valueAt(key: string, { value, version = '' }: Place<Value>): Promise<Buffer> {
    if (value === undefined) throw new RefusalError('state', 'a place without a value');
    const sealed = await this.#shared.log.state.read(value.position, sealedBytes(value.length));
    return openValue(value.key, { scope: this.#scope, key, version }, sealed);
  }

  /** The terms of a record's values; undefined where the collection has no index. */
  termsOf(values: IndexedValues | undefined): Uint8Array | undefined {
    return values && this.#blinding?.termsOf(values);
  }

  #placeOf(key: string): Place<Value> | undefined {
    const pending = this.#pending.get(key);
    return pending === undefined ? this.#shared.table.get(this.#name(key)) : pending.place;
  }

  /** Places with a prefix behind a key, in the order of their keys, those that wait included. */
  *#from(range: Range): Generator<NamedPlace> {
    const { prefix, last, sought } = range;
    const waiting = [...this.#pending]
      .filter(([key]) => key.startsWith(prefix) && key > last)
      .sort(([one], [other]) => (one < other ? -1 : 1));
    let next = 0;
    for (const indexed of this.#indexed(range)) {
      for (; (waiting[next]?.[0] ?? indexed.key) < indexed.key; next++) yield* outlined(waiting[next], sought);
      if (waiting[next]?.[0] === indexed.key) yield* outlined(waiting[next++], sought);
      else yield indexed;
    }
    for (; next < waiting.length; next++) yield* outlined(waiting[next], sought);
  }

  *#indexed({ prefix, last, limit, sought }: Range): Generator<NamedPlace> {
    const most = sought === undefined ? Math.min(SLICE_ROWS, limit) : SLICE_ROWS;
    const names = this.#name(prefix);
    let from = last >= prefix ? this.#behind(last) : names;
    while (true) {
      const rows = this.#shared.table.range(from, names, most, sought);
      yield* rows;
      const end = rows.at(-1)?.key;
      if (end === undefined || rows.length < most) return;
      from = this.#behind(end);
    }
  }

  #name(key: string): Buffer {
    return rowName(this.facts.number, key);
  }

  /** The first name that a row behind a key could have. */
  #behind(key: string): Buffer {
    return Buffer.concat([this.#name(key), ZERO]);
  }

  /** @throws RefusalError `conflict`, which ends the call */
  #refuseConflict(change: Change, now: number): void {
    if (!('ifVersion' in change) || change.ifVersion === undefined) return;
    const place = at(this.#placeOf(change.key), now);
    const version = place?.value === undefined ? null : (place.version ?? null);
    if (version === change.ifVersion) return;
    throw conflictIn(this.facts.name);
  }

  /**
   * The result of changes for each place; undefined if there is no room.
   *
   * **Leak**: a refused caller learns neither which limit was met, nor whose.
   *
   * **Bound**: what would leave no room for the index of the next epoch is refused, also while that
   * is being written. Else strangers could keep that epoch from beginning.
   */
  #plan(changes: readonly Change[], now: number): Planned[] | undefined {
    const planned = new Map<string, Planned>();
    const taken = new Beside(this.#taken);
    const { table, pending, checked } = this.#shared;
    const most = this.#shared.most - (isOwners(this.facts.name) ? 0 : this.#shared.owners);
    const begin = [...checked].reduce((sum, [of, more]) => (of === this ? sum : sum + more), table.slotBytes + pending);
    let index = begin;
    const known = new Set<string>();
    for (const change of changes) {
      const { key } = change;
      const before = planned.get(key);
      const held = before === undefined ? this.#placeOf(key) : before.place;
      const place = after(held, this.#mutation(change, now), now);
      const row = place === undefined || held !== undefined ? 0 : table.slotCost(this.facts.number, key);
      const more = row + (place === undefined ? 0 : table.nameCost(place, known));
      const hasRoom = more === 0 || /* layer: room for the next index (off: true) */ index + more <= most;
      const fits = place === undefined || (hasRoom && taken.fits(key, held, place, this.facts.room));
      if (!fits && change.kind === 'put') return undefined;
      if (!fits && change.kind === 'mark-put') continue;
      if (place === held) continue;
      index += more;
      planned.set(key, { key, place, held: before === undefined ? held : before.held });
      taken.count(key, held, -1);
      taken.count(key, place, 1);
    }
    checked.set(this, index - begin);
    return [...planned.values()];
  }

  #mutation(change: Change, now: number): Mutation<Value> {
    if (change.kind === 'delete' || change.kind === 'mark-delete') return change;
    const since = Math.floor(Math.min(change.since, now));
    const kept = { since, end: since + this.facts.retention, label: change.label, owner: change.owner };
    if (change.kind === 'mark-put') return { kind: 'mark-put', ...kept };
    const bytes = Buffer.from(change.value);
    const terms = this.termsOf(change.indexed);
    const value: Value = { length: bytes.length, key: NO_KEY, terms, position: -1, bytes };
    return { kind: 'put', value, version: change.version, ...kept };
  }

  #changes(changed: readonly Changed[], now: number): Changes {
    return { collection: this.facts.name, time: Math.floor(now), changed, moved: [] };
  }

  /** Changes as they will be made. Nothing is changed yet. */
  #part(planned: readonly Planned[], now: number): Part {
    const keys = randomBytes(KEY_BYTES * planned.length);
    const values: NewValue[] = [];
    const made = planned.map(({ key, place, held }, i): Made => {
      const value = place?.value;
      const isNew = value !== undefined && value !== held?.value && value.bytes !== undefined;
      if (!isNew) return { key, place, held, isNew };
      const own: Value = { ...value, key: keys.subarray(i * KEY_BYTES, (i + 1) * KEY_BYTES) };
      values.push({ key, version: place?.version, value: own });
      return { key, place: place && { ...place, value: own }, held, isNew };
    });
    return { made, layout: layoutOf(this.#changes(made, now), values) };
  }

  /** Makes changes in memory, and the part of a block that makes them durable. */
  #make({ made, layout }: Part): Carried {
    const { pending: before, table } = this.#shared;
    for (const change of made) {
      const { key, place } = change;
      // Another collection's check may have swept what was planned to be replaced.
      const held = this.#placeOf(key);
      count(this.#taken, key, held, -1);
      count(this.#taken, key, place, 1);
      this.#pending.set(key, change);
      if (place === undefined) continue;
      this.#shared.due(dueOf(place));
      table.hold(place);
      if (held === undefined) this.#shared.pending += table.slotCost(this.facts.number, key);
    }
    const weight = this.#shared.pending - before;
    return this.#carried(layout, (block) => {
      this.#shared.pending -= weight;
      for (const change of made) this.#land(change, block);
    });
  }

  #carried({ values, offsets, text, head, length }: Layout, done: (block: number) => void): Carried {
    const { epoch } = this.#shared;
    const sealed = Buffer.allocUnsafe(length);
    for (const { key, version = '', value } of values) {
      const name = { scope: this.#scope, key, version };
      sealValue(value.key, name, value.bytes ?? NO_BYTES, sealed, offsets.get(value) ?? 0);
    }
    return {
      length: head + length,
      write: () => {
        const frame = sealFrame(epoch.seals.frames, epoch.number, epoch.next(), text);
        return Buffer.concat([frame, sealed], head + length);
      },
      landed: (position, block) => {
        for (const [value, offset] of offsets) {
          value.position = position + head + offset;
          value.bytes?.fill(0);
          value.bytes = undefined;
        }
        done(block);
      },
    };
  }

  /** A change has become durable. */
  #land(change: Made, block: number): void {
    const { key, place, isNew } = change;
    if (!isNew && place?.value !== undefined) this.settle(key, this.staying(key, place));
    else this.settle(key, place, block);
    if (this.#pending.get(key) === change) this.#pending.delete(key);
    if (place === undefined) return;
    this.#shared.table.letGo(place);
    this.#shared.due(dueOf(place));
  }

  /** A place with the value that the index has, which may have been moved meanwhile. */
  staying(key: string, place: Place<Value> | undefined): Place<Value> | undefined {
    if (place === undefined) return undefined;
    const value = this.#shared.table.get(this.#name(key))?.value;
    return { ...place, value };
  }

  #read(key: string, place: Place<Value>): JsonText | Promise<JsonText> {
    const { value, version = '' } = place;
    if (value?.bytes !== undefined) return value.bytes.toString() as JsonText;
    if (value !== undefined) {
      try {
        const sealed = this.#shared.log.state.read(value.position, sealedBytes(value.length));
        if (!(sealed instanceof Promise))
          return openValue(value.key, { scope: this.#scope, key, version }, sealed).toString() as JsonText;
      } catch {
        // Read once more below, which says why.
      }
    }
    const read = this.#readDisk(key, place);
    // The one who asked for it hears of it.
    read.catch(() => {});
    return read;
  }

  async #readDisk(key: string, place: Place<Value>): Promise<JsonText> {
    try {
      return (await this.valueAt(key, place)).toString() as JsonText;
    } catch (cause) {
      // Its space may have been used again while it was read.
      const held = this.#shared.table.get(this.#name(key));
      if (held?.version === place.version && held?.value !== undefined && held.value.position !== place.value?.position)
        return this.#readDisk(key, held);
      throw new RefusalError('state', 'a stored value is not what was stored', { cause, final: true });
    }
  }
}

/** The content of a place whose value is read once it is asked for. */
class Read implements Found {
  readonly label: readonly string[];
  readonly since: number;
  readonly version: string | undefined;
  readonly #read: () => JsonText | Promise<JsonText>;
  #value: JsonText | Promise<JsonText> | undefined;

  constructor({ label, since, version }: Place<Value>, read: () => JsonText | Promise<JsonText>) {
    this.label = label;
    this.since = since;
    this.version = version;
    this.#read = read;
  }

  get value(): JsonText | Promise<JsonText> {
    this.#value ??= this.#read();
    return this.#value;
  }
}

/** Whether a collection is none of the policy's, but of what the runtime keeps for its owner. */
function isOwners(name: string): boolean {
  return name.startsWith('$');
}

/** Whether these are the changes that were checked. */
function isSame(checked: readonly Change[] | undefined, changes: readonly Change[]): boolean {
  return (
    checked?.length === changes.length &&
    changes.every((change, i) => {
      const other = checked[i];
      return change.kind === other?.kind && change.key === other.key && versionOf(change) === versionOf(other);
    })
  );
}

function versionOf(change: Change): string | undefined {
  return change.kind === 'put' ? change.version : undefined;
}

/** The outline of a place that waits. */
function outlined(
  [key, { place }]: readonly [string, Pending] = ['', { place: undefined }],
  sought: SoughtTerm | undefined,
): NamedPlace[] {
  if (place === undefined) return [];
  const terms = place.value?.terms ?? NO_BYTES;
  const isSought = sought !== undefined && hasTerm(terms, 0, terms.length, sought);
  return [{ key, hasValue: place.value !== undefined, isSought, label: place.label, due: dueOf(place) }];
}
