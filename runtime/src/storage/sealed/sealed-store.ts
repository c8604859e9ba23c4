/**
 * The sealed store: collections whose places outlive the boot, on the disk of the log. What is kept
 * is only read by this system, at the epoch that its keeper is at.
 */

import { randomBytes } from 'node:crypto';
import { fromHex, toHex } from '@enclaim/attestation/bytes';
import { type DigestText, digestText, type Sha256 } from '@enclaim/attestation/digest';
import { HEIR_BYTES } from '@enclaim/attestation/log-disk';
import { succeededState } from '@enclaim/attestation/succession';
import { RefusalError } from '../../errors.ts';
import type { RecordLog } from '../../log/record-log.ts';
import type { StateSection } from '../../log/state-disk.ts';
import { ROOM, type Room } from '../bounds.ts';
import type { Collection } from '../collection.ts';
import { compact } from './compaction.ts';
import { Epoch } from './epoch.ts';
import { type OpenedFrame, openFrame } from './frame.ts';
import { readHeir, SUCCESSION_COLLECTION, writeHeir } from './heir.ts';
import { type IndexedPlace, IndexTable } from './index-table.ts';
import { EPOCH_KEY_BYTES, type Keeper, MAX_BLOB_BYTES, type Passage, passageOf, statedPassage } from './keeper.ts';
import { type RecoveryJudge, recoveryOn } from './recoveries.ts';
import { Names } from './row.ts';
import { SealedCollection, type Shared, type Taken } from './sealed-collection.ts';
import { type EpochSeals, epochSeals } from './seals.ts';
import {
  type Coming,
  HEAD_BYTES,
  type Lineage,
  openFacts,
  readHead,
  readIndex,
  type SlotFacts,
  type SlotHead,
  type SlotNames,
  SlotWriter,
} from './slot.ts';

/** Milliseconds between two looks for what has expired. An expired value is never returned. */
const SWEEP_MS = 1000;
/** Rows that are looked at in one turn of the loop. */
const SLICE_ROWS = 256;
/** Bytes of the index that callers leave to secrets and successions; a part of a small one. */
const OWNERS = { most: 128 * 1024, part: 8 };
/** Part of a slot that prefixes and tags of its chunks take, at most: one of so many. */
const CHUNKS_SHARE = 64;
/** A block without a seal has none that opens. */
const NO_SEAL = new Uint8Array();

/** The parts that a sealed store needs. */
export interface SealedStoreOptions {
  readonly keeper: Keeper;
  /** Opened, with nothing placed by this boot yet. */
  readonly log: RecordLog;
  /** Name of the system: state of another does not open. */
  readonly system: string;
  /** The sealed collections of the policy. */
  readonly collections: ReadonlyMap<string, { readonly retention: number; readonly room?: Room }>;
  /**
   * Judges a succession by which a disk brings state of another launch.
   *
   * @throws RefusalError `state`; absent where none is taken over
   */
  readonly inherits?: ((succession: Uint8Array) => Promise<Inheritance>) | undefined;
  /** Judges a recovery that a disk brings. Absent where none is taken. */
  readonly recovers?: RecoveryJudge | undefined;
  /** The boot's clock: milliseconds since 1970, which never go back. */
  readonly clock: { now(): number; notBefore(wall: number): void };
}

/** A succession that holds, as the store needs it. */
export interface Inheritance {
  readonly digest: Sha256;
  /** The name of the state that it passes. */
  readonly state: DigestText<'sha256'>;
  readonly passage: Passage;
}

/** The legacy for an heir, anew with each epoch. */
export interface Bequest {
  readonly passage: Passage;
  /** Digest of the succession, as text. */
  readonly digest: string;
  /** Canonical bytes of the signed succession, for the heir. */
  readonly succession: Uint8Array;
}

/** State as a store found it when it was opened. */
export interface OpenedState {
  /** Epoch of the index that was found; 0 if there was none. */
  readonly epoch: number;
  /** Places that were found. */
  readonly places: number;
  /** Frames that were followed behind the index. */
  readonly frames: number;
  /**
   * The succession by which it came from another launch, to this boot or to one that ended before
   * that was done with ({@link SealedStore.retire}); null if it did not.
   */
  readonly inherited: Inheritance | null;
  /**
   * The recovery that this state goes on from, in this boot or in one that ended before that was
   * recorded ({@link SealedStore.retire}); null without one.
   */
  readonly recovered: DigestText<'sha256'> | null;
}

/** Everything that is stored under `storage: sealed`. */
export class SealedStore {
  /** Collections by name. */
  readonly collections: ReadonlyMap<string, Collection>;
  /** State as it was found. */
  readonly opened: OpenedState;
  readonly #options: SealedStoreOptions;
  readonly #shared: Shared;
  readonly #table: IndexTable;
  readonly #epoch: Epoch;
  /** All collections that the disk has, by number; those that the policy has no longer, too. */
  readonly #kept: readonly SealedCollection[];
  #due: number;
  #least = 0;
  /** The slot of the present index. */
  #slot: number;
  /** The keeper's present epoch: another number than that of state which was just taken over. */
  #present: number;
  #lineage: Lineage;
  #began = 0;
  #bequest: Bequest | undefined;
  /** The bequest that the present epoch's key was handed over by. */
  #handed: Bequest | undefined;
  #advancing: Promise<number> | undefined;
  #sweeper: NodeJS.Timeout | undefined;

  private constructor(options: SealedStoreOptions, found: Found) {
    const { collections } = options;
    this.#options = options;
    this.#table = found.table;
    this.#epoch = found.epoch;
    const { inherited, recovered, lineage, slot, present } = found;
    const { number: epoch, sequence: frames } = found.epoch;
    this.opened = { epoch, places: found.table.rows, frames, inherited, recovered };
    this.#present = present;
    this.#slot = slot;
    this.#lineage = lineage;
    this.#shared = found.shared;
    found.shared.sweep = (now) => this.#sweep(now);
    found.shared.due = (at) => {
      this.#due = Math.min(this.#due, at);
    };
    this.#kept = found.kept;
    this.collections = new Map(
      found.kept.filter(({ facts }) => collections.has(facts.name)).map((each) => [each.facts.name, each]),
    );
    this.#due = this.#table.nextDue();
  }

  /**
   * Opens what is stored, and begins the next epoch: after this, nothing that this boot did not
   * write can be taken for its state.
   *
   * @throws RefusalError `state` if the disk is another's, of before, damaged or too small;
   * `keeper`
   */
  static async open(options: SealedStoreOptions): Promise<SealedStore> {
    if (options.log.state.slotBytes < 2 * HEAD_BYTES)
      throw new RefusalError('state', `a disk without room for stored state`);
    // Until the first epoch has begun, no space of what is stored is given back.
    options.log.state.hold(() => 0);
    const found = await find(options);
    const store = new SealedStore(options, found);
    try {
      store.#shorten(found.retentions);
      // What ended while the machine was off holds no space in this boot's first epoch.
      store.#sweepDue();
      store.#began = await store.#advance(true);
    } catch (error) {
      await store.close();
      throw error;
    }
    store.#sweeper = setInterval(() => store.#sweepDue(), SWEEP_MS).unref();
    return store;
  }

  /** Whether a log's disk has state of some epoch, of this system or another. */
  static async isOn(log: Pick<RecordLog, 'state'>): Promise<boolean> {
    return [await readHead(log.state, 0), await readHead(log.state, 1)].some((head) => head !== undefined);
  }

  /** The present epoch. */
  get epoch(): number {
    return this.#epoch.number;
  }

  /** The epoch that was begun when the store was opened. */
  get began(): number {
    return this.#began;
  }

  /** Places that are durable. */
  get places(): number {
    return this.#table.rows;
  }

  /** Bytes of memory that the index takes. */
  get indexBytes(): number {
    return this.#table.memory;
  }

  /**
   * Begins the next epoch: what was deleted in this one is then final, and space of values that are
   * no longer there can be used again. Calls go on meanwhile; writes wait for its last step.
   *
   * @returns the new epoch
   * @throws RefusalError `keeper` if the keeper did not go on, so that this epoch goes on; `state`
   * or `log` if the store has failed
   */
  advance(): Promise<number> {
    this.#advancing ??= this.#advance(false).finally(() => {
      this.#advancing = undefined;
    });
    return this.#advancing;
  }

  /** The present name of the state, which a succession of it gives. */
  get state(): DigestText<'sha256'> {
    return this.#lineage.name;
  }

  /** The bequest that the present epoch's key is handed over by; undefined if it is not. */
  get handed(): Bequest | undefined {
    return this.#handed;
  }

  /**
   * Begins an epoch whose key is handed over to an heir, and so with each epoch after it; or, with
   * undefined, one that no heir opens.
   *
   * @throws RefusalError as {@link advance}; `keeper`, `state` if it could not be handed over. No
   * later epoch is handed over then
   */
  async bequeath(bequest: Bequest | undefined): Promise<void> {
    this.#bequest = bequest;
    try {
      // One that has begun already does not know of this, nor of what was stored since.
      await this.#advancing?.catch(() => {});
      await this.advance();
      if (this.#handed !== bequest) throw new RefusalError('state', 'the state could not be handed over');
    } catch (error) {
      // layer: hand-overs that failed
      this.#bequest = undefined;
      throw error;
    }
  }

  /**
   * Whether the keeper would hand something over on this passage: this launch is where it begins.
   *
   * @throws RefusalError `keeper`
   */
  async tryPassage(passage: Passage): Promise<void> {
    const { heirs } = this.#options.keeper;
    if (heirs === undefined) throw new RefusalError('keeper', 'the keeper passes nothing to another launch');
    await heirs.handOver(randomBytes(EPOCH_KEY_BYTES), passage);
  }

  /**
   * Ends the epochs of the launch that this state came from, and notes that they have ended, or
   * that a recovery is recorded: the last step before a boot serves, once it is recorded where its
   * state came from.
   *
   * @throws RefusalError as {@link advance}; `keeper`
   */
  async retire(): Promise<void> {
    const { heirs } = this.#options.keeper;
    const { unretired, recovered, ...lineage } = this.#lineage;
    if (unretired === undefined && recovered === undefined) return;
    if (unretired !== undefined) {
      if (heirs === undefined) return;
      await heirs.retire(passageOf(unretired.passage), unretired.epoch);
    }
    this.#lineage = lineage;
    await this.advance();
  }

  /** Ends the store: nothing is read or written any more, and its keys are wiped. */
  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    await this.#advancing?.catch(() => {});
    this.#epoch.break(new RefusalError('state', 'the store is closed'));
    this.#table.close();
  }

  async #advance(isOpening: boolean): Promise<number> {
    const { keeper, log, system } = this.#options;
    this.#epoch.refuse();
    const next = this.#present + 1;
    const key = randomBytes(EPOCH_KEY_BYTES);
    const seals = epochSeals(key, system);
    try {
      if (!isOpening) await compact(log, this.#table, this.#kept);
      const blob = await keeper.seal(key, next);
      if (blob.length > MAX_BLOB_BYTES) throw new RefusalError('keeper', `a blob of ${blob.length} bytes`);
      const writer = new SlotWriter(log.state, { slot: 1 - this.#slot, epoch: next }, seals);
      this.#table.watch();
      await writer.all(this.#table);
      await log.between(() => this.#finish(writer, blob, next, key));
    } finally {
      key.fill(0);
      wipe(seals);
      this.#table.unwatch();
    }
    await log.settle();
    return next;
  }

  /** Makes the next epoch the present one. No block is being written meanwhile. */
  async #finish(writer: SlotWriter, blob: Uint8Array, next: number, key: Uint8Array): Promise<void> {
    const { log } = this.#options;
    const { position, block, prior } = log.end;
    const { size, root } = log.durable;
    const time = Math.floor(this.#shared.now());
    // All of one turn: what expires while they are written is not of this slot.
    const changed = this.#table.unwatch();
    const names = structuredClone(this.#names());
    const bequest = this.#bequest;
    const heir = bequest && { passage: statedPassage(bequest.passage), digest: bequest.digest };
    const oldest = Math.min(block, this.#table.oldest);
    await writer.rows(changed.rows);
    changed.rows.fill(0);
    await writer.gone(changed.gone);
    await writer.finish(
      { ...names, ...(heir && { heir }) },
      { position, block, prior: toHex(prior), size, root: toHex(root), time },
      blob,
    );
    await this.#step(next);
    this.#epoch.begin(next, Uint8Array.from(key));
    log.state.sealBlocks((facts) => this.#epoch.sealBlock(facts));
    this.#least = oldest;
    log.state.hold(() => this.#least);
    this.#slot = 1 - this.#slot;
    this.#present = next;
    await this.#handOver(writer, key, bequest);
  }

  /**
   * Leaves the key of the present epoch to the heir that its index notes, if it is the heir still.
   * An epoch goes on without.
   */
  async #handOver(writer: SlotWriter, key: Uint8Array, bequest: Bequest | undefined): Promise<void> {
    const { keeper, log } = this.#options;
    this.#handed = undefined;
    if (bequest === undefined || bequest !== this.#bequest || keeper.heirs === undefined) return;
    try {
      const { passage, succession } = bequest;
      const blob = await keeper.heirs.handOver(key, passage);
      await writeHeir(log.state, this.#slot, writer, { epoch: this.#present, blob, succession });
      this.#handed = bequest;
    } catch (error) {
      if (!(error instanceof RefusalError) || error.code === 'log') throw error;
    }
  }

  /** Has the keeper go on. */
  async #step(next: number): Promise<void> {
    const { keeper } = this.#options;
    let present: number;
    try {
      present = await keeper.advance();
    } catch (error) {
      present = await this.#presentAfter(error);
      if (present === this.#present) throw error;
    }
    if (present === next) return;
    const error = new RefusalError('state', `the keeper is at epoch ${present}, and not at ${next}`);
    this.#epoch.break(error);
    throw error;
  }

  /** The epoch after a step that failed. */
  async #presentAfter(cause: unknown): Promise<number> {
    try {
      return await this.#options.keeper.epoch();
    } catch {
      this.#epoch.break(cause);
      throw cause;
    }
  }

  #names(): SlotNames {
    const { labels, owners } = this.#table.codec;
    return {
      labels: labels.texts,
      owners: owners.texts,
      collections: this.#kept.map(({ facts: { name, retention }, durable }) => ({
        name,
        retention: Number.isFinite(retention) ? retention : null,
        used: [...durable.of],
      })),
      extents: [...this.#table.extents].map(([number, { block, count }]) => [number, block, count]),
      rows: this.#table.rows,
      bytes: this.#table.bytes,
      lineage: this.#lineage,
    };
  }

  /** Holds what is stored to a retention that has become shorter. */
  #shorten(retentions: readonly (number | null)[]): void {
    const now = this.#shared.now();
    const shorter = retentions.map(
      (before, i) => (this.#kept[i]?.facts.retention ?? 0) < (before ?? Number.POSITIVE_INFINITY),
    );
    if (!shorter.includes(true)) return;
    let after: IndexedPlace | undefined;
    while (true) {
      const rows = this.#table.places(after, SLICE_ROWS);
      for (const { collection, key, place } of rows) {
        const kept = this.#kept[collection];
        if (kept === undefined || shorter[collection] !== true) continue;
        const { retention } = kept.facts;
        const valueEnd = Math.min(place.valueEnd, place.since + retention);
        // A place without a value goes on to tell what label it has.
        const placeEnd = Math.min(place.placeEnd, Math.floor(now) + retention);
        const isLive = place.value !== undefined;
        kept.replay(key, { ...place, valueEnd, placeEnd: isLive ? Math.max(valueEnd, placeEnd) : placeEnd });
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < SLICE_ROWS) break;
      after = last;
    }
    this.#due = this.#table.nextDue();
  }

  #sweepDue(): void {
    this.#sweep(this.#shared.now());
  }

  /** Forgets what has expired, with its keys. */
  #sweep(now: number): void {
    if (now < this.#due) return;
    for (let rows = this.#table.due(now, SLICE_ROWS); rows.length > 0; rows = this.#table.due(now, SLICE_ROWS)) {
      let count = 0;
      for (const { collection, key } of rows) if (this.#kept[collection]?.expire(key, now)) count++;
      if (count === 0) break;
    }
    this.#due = this.#table.nextDue();
  }
}

/** State as it was found, not yet of this boot's epoch. */
interface Found {
  readonly table: IndexTable;
  readonly epoch: Epoch;
  readonly shared: Shared;
  readonly kept: readonly SealedCollection[];
  /** Retentions under which collections were kept, by number. */
  readonly retentions: readonly (number | null)[];
  readonly slot: number;
  /** The keeper's epoch: 0 where the state is another launch's still. */
  readonly present: number;
  readonly lineage: Lineage;
  readonly inherited: Inheritance | null;
  readonly recovered: DigestText<'sha256'> | null;
}

/** Finds the state of the keeper's present epoch. */
async function find(options: SealedStoreOptions): Promise<Found> {
  const { keeper, log } = options;
  const present = await keeper.epoch();
  const heads = [await readHead(log.state, 0), await readHead(log.state, 1)].flatMap((head) => head ?? []);
  const ours = heads.filter(({ epoch }) => epoch === present);
  if (present > 0 && ours.length > 0) return await kept(options, ours);
  const inherited = present === 0 ? await inherit(options, heads) : undefined;
  if (inherited !== undefined) return inherited;
  if (present === 0 && (await isBlank(options, heads))) return blank(options);
  const known = heads.map(({ epoch }) => epoch);
  const has = known.length === 0 ? 'no stored state' : `stored state of epoch ${Math.max(...known)}`;
  throw new RefusalError('state', `the disk has ${has}, and the keeper is at epoch ${present}`);
}

/**
 * State of this launch. After a succession two indexes can have one epoch's number: the other is of
 * the launch before, and its key opens for that alone.
 */
async function kept(options: SealedStoreOptions, heads: readonly SlotHead[]): Promise<Found> {
  const { log, recovers } = options;
  const recovery = await recoveryOn(log, heads[0]?.epoch ?? 0, recovers);
  let refused: unknown;
  for (const head of heads) {
    const key = await options.keeper.open(head.blob).catch((error: unknown) => {
      refused ??= error;
    });
    if (key !== undefined) return await load(options, head, key, { inherited: null, recovery });
  }
  throw refused;
}

/**
 * State that another launch has handed over to this one; undefined if none did.
 *
 * @throws RefusalError `state`, `keeper` for one that was not to
 */
async function inherit(options: SealedStoreOptions, heads: readonly SlotHead[]): Promise<Found | undefined> {
  const { keeper, log, inherits } = options;
  let refused: unknown;
  for (const head of heads) {
    const heir = await readHeir(log.state, head.slot);
    if (heir === undefined || heir.epoch !== head.epoch || keeper.heirs === undefined || inherits === undefined)
      continue;
    try {
      const inheritance = await inherits(heir.succession);
      const key = await keeper.heirs.takeOver(heir.blob, inheritance.passage);
      return await load(options, head, key, { inherited: inheritance });
    } catch (error) {
      refused ??= error;
    }
  }
  if (refused !== undefined) throw refused;
  return undefined;
}

/** How a state's name goes on. @throws RefusalError `state` if the succession is of another */
function lineageOf(
  { slot, epoch }: SlotHead,
  { lineage = { name: freshName(), even: 0 } }: SlotNames,
  inherited: Inheritance | null,
): Lineage {
  if (slot !== (epoch + lineage.even) % 2) throw new RefusalError('state', 'an index in the slot of another epoch');
  if (inherited === null) return lineage;
  if (lineage.name !== inherited.state)
    throw new RefusalError('state', `the succession is of the state ${inherited.state}, and this is another`);
  const { digest, passage, state } = inherited;
  const unretired: Coming = { passage: statedPassage(passage), digest: toHex(digest), state, epoch };
  return { name: succeededState(state, digest), even: slot, unretired };
}

/** The inheritance of an earlier boot, which has still to be recorded; null if there is none. */
async function resumed({ unretired }: Lineage, { heirs }: Keeper): Promise<Inheritance | null> {
  if (unretired === undefined) return null;
  const passage = passageOf(unretired.passage);
  await heirs?.resume(passage);
  return { digest: fromHex(unretired.digest) as Sha256, state: unretired.state, passage };
}

/**
 * Has this boot say by which recovery it goes on: one that the disk brings, or that of an earlier
 * boot that has still to be recorded; undefined without one.
 *
 * @throws RefusalError `state` where that cannot be said; `keeper`
 */
async function recoveredBy(
  recovery: DigestText<'sha256'> | undefined,
  { recovered, unretired }: Lineage,
  { recover }: Keeper,
): Promise<DigestText<'sha256'> | undefined> {
  const by = recovery ?? recovered;
  if (by === undefined) return undefined;
  if (unretired !== undefined) throw new RefusalError('state', 'a recovery of state that was just taken over');
  if (recover === undefined) throw new RefusalError('state', 'a recovery, where no boot states one');
  await recover(by);
  return by;
}

/**
 * Refuses to go on with state that an heir has taken over.
 *
 * Without this, a host could keep this disk and this launch's counter, from before the heir ended
 * it, let the heir's first boot be cut off, go on here, and go back to the heir's disk later.
 * @throws RefusalError `state`, `keeper`
 */
async function refuseTakenOver({ heir }: SlotNames, { heirs }: Keeper): Promise<void> {
  if (heir === undefined) return;
  const epoch = await heirs?.epochOfHeir(passageOf(heir.passage));
  // layer: heirs that have begun
  if (epoch !== 0)
    throw new RefusalError('state', `the state was taken over by succession ${heir.digest}: its heir has an epoch`);
}

/** A name that no other state has. */
function freshName(): DigestText<'sha256'> {
  return digestText('sha256', randomBytes(32));
}

/** Whether nothing was ever stored: at most, a first boot ended before the keeper's first step. */
async function isBlank({ log }: SealedStoreOptions, known: readonly SlotHead[]): Promise<boolean> {
  if (known.some(({ epoch }) => epoch !== 1)) return false;
  return known.length === 0 || !(await log.state.hasSections());
}

function blank(options: SealedStoreOptions): Found {
  const table = new IndexTable(options.log.state.journalBytes);
  const empty: SlotNames = { labels: [], owners: [], collections: [], extents: [], rows: 0, bytes: 0 };
  const found = assembled(options, table, new Epoch(options.system), empty);
  const lineage = { name: freshName(), even: 0 };
  return { ...found, retentions: [], slot: 0, present: 0, lineage, inherited: null, recovered: null };
}

/** Loads the state of a slot. Where it is refused, no key of it is left. */
async function load(options: SealedStoreOptions, head: SlotHead, key: Uint8Array, origin: Origin): Promise<Found> {
  const { log, system } = options;
  if (key.length !== EPOCH_KEY_BYTES) throw new RefusalError('keeper', `a key of ${key.length} bytes`);
  const seals: EpochSeals = epochSeals(key, system);
  const table = new IndexTable(log.state.journalBytes);
  const epoch = new Epoch(system);
  try {
    return await followed(options, { head, seals, table, epoch, ...origin }, key);
  } catch (error) {
    epoch.end();
    table.close();
    throw error;
  } finally {
    key.fill(0);
    wipe(seals);
  }
}

/** The way to a state that is about to be loaded. */
interface Origin {
  readonly inherited: Inheritance | null;
  /** The recovery that the disk brings. */
  readonly recovery?: DigestText<'sha256'> | undefined;
}

/** The parts of a state that is being loaded. */
interface Loading extends Origin {
  readonly head: SlotHead;
  readonly seals: EpochSeals;
  readonly table: IndexTable;
  readonly epoch: Epoch;
}

/** Reads an index, and follows the journal behind it. */
async function followed(
  options: SealedStoreOptions,
  { head, seals, table, epoch, inherited, recovery }: Loading,
  key: Uint8Array,
): Promise<Found> {
  const { log, clock } = options;
  const facts = openFacts(head, seals);
  await demandLog(log, facts);
  const names = await readIndex(log.state, head, facts, seals, table);
  const before = lineageOf(head, names, inherited);
  if (inherited === null) await refuseTakenOver(names, options.keeper);
  const came = inherited ?? (await resumed(before, options.keeper));
  const recovered = inherited === null ? await recoveredBy(recovery, before, options.keeper) : undefined;
  const lineage = recovered === undefined ? before : { ...before, recovered };
  table.codec.labels = new Names(names.labels);
  table.codec.owners = new Names(names.owners);
  for (const [number, block, count] of names.extents) table.extents.set(number, { block, count });
  table.recount(names);
  epoch.begin(head.epoch, key);
  const found = assembled(options, table, epoch, names);
  const from = { position: facts.position, prior: fromHex(facts.prior), size: facts.size };
  let blocks = 0;
  const onBlock = (facts: Uint8Array, seal: Uint8Array = NO_SEAL): void => {
    seals.blocks.open(blocks++, facts, seal);
  };
  let { time } = facts;
  const onSection = (section: StateSection, block: number): void => {
    const frame = openFrame(seals.frames, head.epoch, epoch.next(), section);
    replay(found.kept, frame, block);
    time = Math.max(time, frame.time);
  };
  await log.state.follow(from, onSection, onBlock);
  clock.notBefore(time);
  const retentions = names.collections.map(({ retention }) => retention);
  const present = inherited === null ? head.epoch : 0;
  return { ...found, retentions, slot: head.slot, present, lineage, inherited: came, recovered: recovered ?? null };
}

/** Makes the changes of a frame in its collection. */
function replay(
  kept: readonly SealedCollection[],
  { collection: name, changed, moved }: OpenedFrame,
  block: number,
): void {
  const collection = kept.find(({ facts }) => facts.name === name);
  if (collection === undefined) throw new RefusalError('state', 'changes of a collection that the index does not name');
  for (const { key, place, stays } of changed)
    if (stays) collection.replay(key, collection.staying(key, place));
    else collection.replay(key, place, block);
  for (const { key, from, value } of moved) collection.move(key, from, value, block);
}

function wipe(seals: EpochSeals): void {
  for (const seal of Object.values(seals)) seal.wipe();
}

/** @throws RefusalError `state` if the log was cut, or is another */
async function demandLog(log: RecordLog, { size, root }: SlotFacts): Promise<void> {
  const { size: durable } = log.durable;
  if (size > durable)
    throw new RefusalError('state', `a log of ${durable} records, and stored state that was written with ${size}`);
  if (size >= log.minimum && toHex(await log.rootAt(size)) !== root)
    throw new RefusalError(
      'state',
      `the log is not the one that the stored state was written with, of ${size} records`,
    );
}

/** Collections of the disk and of the policy, over a table. */
function assembled(
  { log, system, collections, clock }: SealedStoreOptions,
  table: IndexTable,
  epoch: Epoch,
  names: SlotNames,
): Pick<Found, 'table' | 'epoch' | 'shared' | 'kept'> {
  const { slotBytes } = log.state;
  // A slot that is not much larger hands nothing over: that is refused, and the index is not.
  const heir = collections.has(SUCCESSION_COLLECTION) && slotBytes >= 2 * HEIR_BYTES ? HEIR_BYTES : 0;
  const most = slotBytes - HEAD_BYTES - Math.ceil(slotBytes / CHUNKS_SHARE) - heir;
  const shared: Shared = {
    ...{ system, log, table, epoch },
    now: () => clock.now(),
    most,
    owners: Math.min(OWNERS.most, Math.floor(most / OWNERS.part)),
    pending: 0,
    checked: new Map(),
    sweep: () => {},
    due: () => {},
  };
  const all = new Map(names.collections.map((each) => [each.name, each]));
  const isNew = [...collections.keys()].filter((name) => !all.has(name));
  const kept = [...all.keys(), ...isNew].map((name, number) => {
    const { used = [], retention: before = null } = all.get(name) ?? {};
    const { retention = before ?? Number.POSITIVE_INFINITY, room = ROOM } = collections.get(name) ?? {};
    const taken: Taken = { size: used.reduce((sum, [, bytes]) => sum + bytes, 0), of: new Map(used) };
    return new SealedCollection(shared, { name, number, retention, room }, taken);
  });
  table.names(kept.map(({ facts }) => facts.name));
  return { table, epoch, shared, kept };
}
