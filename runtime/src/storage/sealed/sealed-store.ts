/**
 * The sealed store: collections whose places outlive the boot, on the disk of the log. What is kept
 * is only read by this system, at the epoch that its keeper is at.
 */

import { randomBytes } from 'node:crypto';
import { toBase64, toHex } from '@enclaim/attestation/bytes';
import type { FinalWord } from '@enclaim/attestation/deletion';
import type { DigestText } from '@enclaim/attestation/digest';
import { RefusalError } from '../../errors.ts';
import type { RecordLog } from '../../log/record-log.ts';
import type { Collection } from '../collection.ts';
import { compact } from './compaction.ts';
import type { Epoch } from './epoch.ts';
import { Expiry } from './expiry.ts';
import { type Found, find, type Inheritance, type SealedStoreOptions } from './found.ts';
import { writeHeir } from './heir.ts';
import type { IndexTable } from './index-table.ts';
import { EPOCH_KEY_BYTES, MAX_BLOB_BYTES, type Passage, passageOf, statedPassage } from './keeper.ts';
import { reindex, shapeOf } from './reindex.ts';
import type { SealedCollection, Shared } from './sealed-collection.ts';
import { epochSeals, wipeSeals } from './seals.ts';
import { HEAD_BYTES, type Lineage, readHead, type SlotCollection, type SlotNames, SlotWriter } from './slot.ts';

/** Milliseconds between two looks for what has expired. An expired value is never returned. */
const SWEEP_MS = 1000;

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
  readonly #expiry: Expiry;
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
  #final: FinalWord = { epoch: 0, records: 0, until: 0 };
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
    this.#kept = found.kept;
    const expiry = new Expiry(found.table, found.kept);
    this.#expiry = expiry;
    found.shared.sweep = (now) => expiry.sweep(now);
    found.shared.due = (at) => expiry.due(at);
    this.collections = new Map(
      found.kept.filter(({ facts }) => collections.has(facts.name)).map((each) => [each.facts.name, each]),
    );
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
      await reindex(found.table, found.kept, found.shapes);
      store.#expiry.shorten(found.retentions, found.shared.now());
      // What ended while the machine was off holds no space in this boot's first epoch.
      await store.#expiry.sweepInTurns(found.shared.now());
      store.#began = await store.#advance(true);
    } catch (error) {
      await store.close();
      throw error;
    }
    store.#sweeper = setInterval(() => void store.#expiry.sweepInTurns(store.#shared.now()), SWEEP_MS).unref();
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

  /** The word of the present epoch: what was gone when it began is gone for good. */
  get final(): FinalWord {
    return this.#final;
  }

  /** The epoch that was begun when the store was opened. */
  get began(): number {
    return this.#began;
  }

  /** Places that are durable. */
  get places(): number {
    return this.#table.rows;
  }

  /** Bytes that the index's rows have in a slot, at most. */
  get indexRowBytes(): number {
    return this.#table.bytes;
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

  /**
   * Begins an epoch that has begun after everything that was stored before this was called.
   *
   * @throws RefusalError as {@link advance}
   */
  async advanceAnew(): Promise<number> {
    await this.#advancing?.catch(() => {});
    return await this.advance();
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
      await this.advanceAnew();
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
    await this.#expiry.stop();
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
      if (!isOpening) await this.#expiry.sweepInTurns(this.#shared.now());
      if (!isOpening) await compact(log, this.#table, this.#kept);
      const blob = await keeper.seal(key, next);
      if (blob.length > MAX_BLOB_BYTES) throw new RefusalError('keeper', `a blob of ${blob.length} bytes`);
      using writer = new SlotWriter(log.state, { slot: 1 - this.#slot, epoch: next }, seals);
      const final = this.#watch(next);
      await writer.all(this.#table);
      await log.between(() => this.#finish(writer, blob, final, key));
    } finally {
      key.fill(0);
      wipeSeals(seals);
      this.#table.unwatch().rows.fill(0);
    }
    await log.settle();
    return next;
  }

  /**
   * Begins to note what changes while the index of an epoch is written. Returns what is not in it:
   * a row that goes later was perhaps written, with its key, before that is noted behind it.
   */
  #watch(epoch: number): FinalWord {
    this.#table.watch();
    const now = Math.floor(this.#shared.now());
    return { epoch, records: this.#options.log.durable.size, until: this.#expiry.goneUntil(now) };
  }

  /** Makes the next epoch the present one. No block is being written meanwhile. */
  async #finish(writer: SlotWriter, blob: Uint8Array, final: FinalWord, key: Uint8Array): Promise<void> {
    const { log } = this.#options;
    const { epoch: next } = final;
    const { position, block, prior } = log.end;
    const { size, root } = log.durable;
    const time = Math.floor(this.#shared.now());
    // All of one turn: what expires while they are written is not of this slot.
    const changed = this.#table.unwatch();
    const names = structuredClone(this.#names());
    const bequest = this.#bequest;
    const heir = bequest && { passage: statedPassage(bequest.passage), digest: bequest.digest };
    const oldest = Math.min(block, this.#table.oldest);
    try {
      await writer.rows(changed.rows);
    } finally {
      changed.rows.fill(0);
    }
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
    this.#final = final;
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
    const isIndexed = this.#kept.some((each) => shapeOf(each) !== undefined);
    return {
      labels: labels.texts,
      owners: owners.texts,
      collections: this.#kept.map(collectionOf),
      extents: [...this.#table.extents].map(([number, { block, count }]) => [number, block, count]),
      rows: this.#table.rows,
      bytes: this.#table.bytes,
      ...(isIndexed && { blinding: toBase64(this.#shared.blinding) }),
      lineage: this.#lineage,
    };
  }
}

function collectionOf(collection: SealedCollection): SlotCollection {
  const { facts, durable } = collection;
  const { name, retention } = facts;
  const shape = shapeOf(collection);
  return {
    ...{ name, retention: Number.isFinite(retention) ? retention : null, used: [...durable.of] },
    ...(shape !== undefined && { shape }),
  };
}
