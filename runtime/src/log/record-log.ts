/**
 * The evidence log: records as leaves of one tree, on a file or a raw device. A record is durable
 * before anything that it covers leaves.
 */

import { equalBytes } from '@enclaim/attestation/bytes';
import type { DigestText, Sha256 } from '@enclaim/attestation/digest';
import { DecodeError } from '@enclaim/attestation/errors';
import {
  type Block,
  type BlockSection,
  blockLength,
  ENTRY_PREFIX_BYTES,
  encodeQuoteSection,
  type FoundLog,
  findLog,
  type JournalEnd,
  type KeptQuote,
  LogDisk,
  type LogLayout,
  QUOTE_SECTION,
  quoteIn,
  type ReadDisk,
  SEAL_SECTION,
  SECTION_PREFIX_BYTES,
  SECTOR_BYTES,
  STATE_SECTION,
  StoredLog,
  sectionsLength,
  sectors,
  TILE_HASHES,
  treeRoot,
} from '@enclaim/attestation/log-disk';
import {
  decodeEntry,
  type EvidenceRecord,
  entryText,
  leafDigest,
  leafText,
  MAX_ENTRY_BYTES,
} from '@enclaim/attestation/record';
import type { Tile } from '@enclaim/attestation/tlog';
import { RefusalError } from '../errors.ts';
import { type BlockFacts, Carriage, carriedBytes, leavesOf, sectionOf } from './carried.ts';
import { type Batch, type Carried, CommitQueue } from './commit-queue.ts';
import { asked, type Device } from './device.ts';
import { EarlierBoots, fitsLog, type QuotedLog } from './earlier-boots.ts';
import { findQuote, KeptQuotes } from './kept-quotes.ts';
import { type LogRoom, RoomWatch, type Writer } from './log-room.ts';
import { type DurableTree, LogWriter } from './log-writer.ts';
import { SEAL_BYTES, StateDisk } from './state-disk.ts';

/** A record as its writer gives it. */
export type Entry = EvidenceRecord;

/** A tree of the log. */
export interface TreeHead {
  /** Number of records. */
  readonly size: number;
  /** RFC 6962 root. */
  readonly root: Sha256;
}

/** A record that has its place in the log. */
export interface Placed {
  readonly index: number;
  readonly hash: DigestText<'sha256'>;
  /**
   * Resolves once it is on stable storage; records of one write share it. Rejects with RefusalError
   * `log`; nothing can be appended from then on.
   */
  readonly durable: Promise<unknown>;
}

/** Quotes of earlier boots, as a boot found them. */
export interface FoundQuotes {
  /** Records under the last quote of the boot before; 0 if none was found. */
  readonly size: number;
  /** Quotes in their places that are damaged, or not of this log. */
  readonly unfit: number;
}

/** A quote in the section of a block. */
interface CarriedQuote extends KeptQuote {
  readonly position: number;
}

/** Stands in place of a record's hash where there is no log. */
export const ZERO_HASH: DigestText<'sha256'> = `sha256:${'00'.repeat(32)}`;
const HASH_AT = 'sha256:'.length;
/** Records that may wait for the write before theirs. */
export const MAX_WAITING_RECORDS = 65_536;
/** Bytes of a block beside its entries, with a frontier that is as long as any. */
const OVERHEAD_BYTES = blockLength(2 ** 48 - 1, 0, SECTION_PREFIX_BYTES + SEAL_BYTES);

/** A log of records, each in a commit block with those that were placed at about the same time. */
export class RecordLog {
  /** The log as it was found. */
  readonly began: TreeHead;
  /** Time of the newest record that was found; null if there is none that can be read. */
  readonly newest: string | null;
  /**
   * Whether bytes behind the end are no block of this log. A crash in the middle of a write leaves
   * such bytes, and so does a change of a record that was acknowledged. The record of the boot says
   * that there were some.
   */
  readonly discarded: boolean;

  /** The parts of the disk that have sealed state. */
  readonly state: StateDisk;

  readonly #layout: LogLayout;
  readonly #carriage: Carriage;
  readonly #writer: LogWriter;
  readonly #stored: StoredLog;
  readonly #queue: CommitQueue;
  readonly #room: RoomWatch;
  readonly #listeners: ((head: TreeHead) => void)[] = [];
  readonly #onHeld: (() => void)[] = [];
  readonly #onPlaced: ((entry: Entry, hash: DigestText<'sha256'>) => void)[] = [];
  #size: number;
  #durable: DurableTree;
  #head: TreeHead;
  /** Bytes of the blocks that wait, at most. */
  #reserved = 0;
  /** Position before which no record is held: where space begins, but for sealed values. */
  #wanted: number;
  /** Index below which a mirror holds all records, so that they need not be kept. */
  #forgotten: number;
  #broken: unknown;
  #quotes: KeptQuotes;
  #earlier: EarlierBoots;
  #quoted: FoundQuotes = { size: 0, unfit: 0 };
  /** The last quote of the boot before, which goes into the first block of this boot. */
  #carried: KeptQuote | undefined;
  /** Position of the block with the newest quote of an earlier boot; 0 if there is none. */
  #before = 0;

  private constructor(device: Device, disk: LogDisk, found: FoundLog) {
    const { tree, end, places, minimum, discarded, recorded } = found;
    this.discarded = discarded;
    this.newest = timeOf(recorded?.entries.at(-1));
    this.#layout = disk.layout;
    this.#writer = new LogWriter(device, disk, found);
    this.#stored = new StoredLog(disk, tree, places, () => this.#writer.held);
    this.#queue = new CommitQueue((batch) => this.#perform(batch), this.#layout.maxBlock - sectors(OVERHEAD_BYTES));
    const { most } = this.#queue;
    this.#carriage = new Carriage(most - Math.min(ENTRY_PREFIX_BYTES + MAX_ENTRY_BYTES, Math.floor(most / 2)));
    this.state = new StateDisk(disk, this.#writer, device);
    this.#room = new RoomWatch(this.#layout);
    this.#size = end.size;
    this.#durable = { size: end.size, frontier: tree.frontier() };
    this.#forgotten = minimum;
    this.#wanted = found.start;
    this.began = { size: end.size, root: treeRoot(this.#durable.frontier) };
    this.#head = this.began;
    this.#quotes = new KeptQuotes(
      disk,
      (data, at) => this.#writer.write(data, at),
      0,
      () => this.#before,
    );
    this.#earlier = new EarlierBoots(this.#blocks(disk), 0, end.size);
    this.#look(false);
  }

  /**
   * Opens a log and follows it to its end.
   *
   * @param capacity bytes that the file or device may hold
   * @throws RefusalError `log` if it is none that this runtime can continue, or cannot be read
   */
  static async open(device: Device, capacity: number): Promise<RecordLog> {
    const read: ReadDisk = async (at, length) => {
      const read = () => device.read(new Uint8Array(length), 0, length, at);
      const { bytesRead, buffer } = await asked('read', read);
      return buffer.subarray(0, bytesRead);
    };
    return await told('the disk holds no log that can be continued', async () => {
      const disk = new LogDisk(read, capacity);
      let carried: CarriedQuote | undefined;
      const onBlock = (block: Block): void => {
        refuseSections(block);
        carried = carriedIn(block) ?? carried;
      };
      const found = await findLog(disk, onBlock, () => {
        carried = undefined;
      });
      for (const block of [found.last, found.recorded]) carried ??= block === null ? undefined : carriedIn(block);
      const log = new RecordLog(device, disk, found);
      // A superblock says only what space the boot before could give back.
      if (found.minimum > 0) log.#wanted = Math.max(found.start, await log.#startOf(found.minimum));
      await log.#takeQuotes(disk, carried);
      return log;
    });
  }

  /** Quotes of earlier boots, as this boot found them. */
  get quoted(): FoundQuotes {
    return this.#quoted;
  }

  /** Earlier boots, by the quotes that were kept of them. */
  get earlier(): EarlierBoots {
    return this.#earlier;
  }

  /** Bytes that a quote may have to be kept. */
  get quoteRoom(): number {
    return this.#quotes.most;
  }

  /**
   * Keeps a quote of this boot's tree for later boots, in place of those before.
   *
   * @param quote `enclaim.v1.LogProof` without index and path
   * @returns whether it could be kept
   */
  async keepQuote(quote: Uint8Array): Promise<boolean> {
    return this.#broken === undefined && (await this.#quotes.keep(quote));
  }

  /** Records that have a place, durable or not. */
  get size(): number {
    return this.#size;
  }

  /** The tree of all records whose write has resolved. Only this may be signed. */
  get durable(): TreeHead {
    if (this.#head.size !== this.#durable.size)
      this.#head = { size: this.#durable.size, root: treeRoot(this.#durable.frontier) };
    return this.#head;
  }

  /**
   * Settles once all that has a place now is durable, with what rides along; undefined if all is.
   * Rejects with RefusalError `log` if that failed, or an earlier write did.
   */
  get pending(): Promise<unknown> | undefined {
    if (this.#broken === undefined) return this.#queue.last;
    const refused = Promise.reject(failed(this.#broken));
    refused.catch(() => {});
    return refused;
  }

  /** Registers a listener of every tree that became durable. */
  onDurable(listener: (head: TreeHead) => void): void {
    this.#listeners.push(listener);
  }

  /** Registers a listener of every record that has its place, in the order of their places. */
  onPlaced(listener: (entry: Entry, hash: DigestText<'sha256'>) => void): void {
    this.#onPlaced.push(listener);
  }

  /** Lowest index whose record is held. */
  get minimum(): number {
    return Math.max(this.#forgotten, this.#writer.held.minimum);
  }

  /**
   * Lets the space of records be used again, because a mirror holds all of them. It is used once a
   * superblock says so.
   *
   * @throws RangeError beyond what is durable
   */
  forget(below: number): void {
    if (!Number.isSafeInteger(below) || below > this.#durable.size)
      throw new RangeError(`records below ${below}, where ${this.#durable.size} are durable`);
    if (below <= this.#forgotten) return;
    this.#forgotten = below;
    this.#queue.wake();
  }

  /** Bytes left for records of calls. */
  get left(): number {
    return this.#room.left(this.#used, 'call');
  }

  /** The same, as a grade. */
  get room(): LogRoom {
    return this.#room.grade;
  }

  /** Registers a listener that is called whenever the grade changes. */
  onRoom(listener: (room: LogRoom) => void): void {
    this.#room.onChange(listener);
  }

  /**
   * Gives a record its place. Records placed at about the same time share one write. Some room is
   * for the runtime's own records alone.
   *
   * @throws RefusalError `log` if it is not a record, the log is full, or an earlier write failed;
   * `budget` if too many records wait
   */
  place(entry: Entry, writer: Writer = 'call'): Placed {
    try {
      return this.#place(entry, writer);
    } catch (cause) {
      this.#carriage.forget();
      // What was stored in memory would have no record.
      if (this.#carriage.isBegun) this.#broken ??= cause;
      throw cause;
    }
  }

  #place(entry: Entry, writer: Writer): Placed {
    // After a failed write the content of the disk is unknown: only a restart may read it again.
    if (this.#broken !== undefined) throw failed(this.#broken);
    if (this.#queue.waiting >= MAX_WAITING_RECORDS)
      throw new RefusalError('budget', `${MAX_WAITING_RECORDS} records are already waiting`);
    const { leaf, length } = this.#encoded(entry);
    const extra = this.#carriage.expected;
    this.#reserve(length, writer, extra);
    const hash = leafDigest(leaf);
    const text = leaf.slice(1);
    const batch = this.#queue.place({ text, length, hash: hash.slice(HASH_AT) }, extra);
    this.#carriage.placed(batch);
    const index = this.#size++;
    for (const tell of this.#onPlaced) tell(entry, hash);
    // Last, because a listener may itself place a record, which must follow this one.
    this.#look(false);
    return { index, hash, durable: batch.done.promise };
  }

  /**
   * Asks for room for parts that ride in the block of the record that is placed next. They and the
   * record are given in the same turn; parts of one record may come before it, or after it.
   *
   * @param bytes of a part's data
   * @throws RefusalError `budget`, ending the call, if no block of this disk has so much
   */
  expect(bytes: number): void {
    this.#carriage.expect(carriedBytes({ length: bytes }));
  }

  /** Lets go of room that was asked for: the parts do not come. */
  expectNothing(): void {
    this.#carriage.forget();
  }

  /** Adds a part. @throws TypeError if no room was asked for in this turn */
  carry(part: Carried): void {
    this.#carriage.add(part);
  }

  /**
   * Adds a part that no room was asked for: to the block that is put together, or to one of its
   * own, which has no record. Where the log takes nothing more, or the part is larger than a block,
   * it is not written.
   *
   * @returns what settles with its write
   */
  async carryLate(part: Carried, writer: Writer = 'call'): Promise<void> {
    if (this.#broken !== undefined) throw failed(this.#broken);
    const extra = carriedBytes(part);
    const more = this.#queue.growth(extra, (bytes) => sectors(OVERHEAD_BYTES + bytes));
    if (extra > this.#queue.most || more > this.#room.left(this.#used, writer)) throw this.#full();
    this.#reserved += more;
    await this.#queue.placeLate(part, extra).done.promise;
  }

  /** The end of the last block that is durable, and the position of that block. */
  get end(): JournalEnd & { readonly block: number } {
    return { ...this.#writer.end, block: this.#writer.last };
  }

  /** Position before which no record is held: its space is used again unless state holds it. */
  get wanted(): number {
    return this.#wanted;
  }

  /** Position from which on space is held. */
  get start(): number {
    return this.#writer.held.start;
  }

  /**
   * Whether calls have little room left, and state of the present epoch holds a real share of space
   * that records have let go of: it is used again in the next one.
   *
   * **Bound**: the record of an epoch lies behind what its epoch holds, too. Where a mirror takes
   * it, that must be no reason for the next one.
   */
  get isHeld(): boolean {
    const held = this.#wanted - Math.max(this.state.least, this.#writer.held.start);
    return this.room !== 'ample' && held >= this.#room.share;
  }

  /** Registers a listener that is called whenever that is so after a write. */
  onHeld(listener: () => void): void {
    this.#onHeld.push(listener);
  }

  /** Bytes that one part may have. */
  get mostCarried(): number {
    return this.#queue.most;
  }

  /** Has work done after all that waits, while no block is being written. */
  between<T>(task: () => Promise<T>): Promise<T> {
    return this.#queue.between(task);
  }

  /** Gives space back that a hold has let go of. @throws RefusalError `log` if the disk failed */
  settle(): Promise<void> {
    return this.#queue.between(() => this.#perform(undefined));
  }

  /**
   * Appends a record and resolves with its hash once it is on stable storage.
   *
   * @throws RefusalError as {@link place}
   */
  async append(entry: Entry, writer: Writer = 'call'): Promise<DigestText<'sha256'>> {
    const { hash, durable } = this.place(entry, writer);
    await durable;
    return hash;
  }

  /**
   * The root of a tree that is durable.
   *
   * @throws RangeError beyond it, or below the minimum; RefusalError `log` if the disk has another
   */
  rootAt(size: number): Promise<Sha256> {
    return this.#read(size, size, () => this.#stored.rootAt(size));
  }

  /** The inclusion path of a record, from the leaf upwards. @throws as {@link rootAt} */
  inclusion(index: number, size: number): Promise<Sha256[]> {
    return this.#read(index, size, () => this.#stored.inclusion(index, size));
  }

  /** The proof that one tree is part of a later one. @throws as {@link rootAt} */
  consistency(old: number, size: number): Promise<Sha256[]> {
    return this.#read(old === 0 ? size : old, size, () => this.#stored.consistency(old, size));
  }

  /** Bytes of a tile (C2SP tlog-tiles) of the durable tree. @throws as {@link rootAt} */
  tile(tile: Tile): Promise<Uint8Array> {
    const span = tile.level === 'entries' ? 1 : TILE_HASHES ** tile.level;
    const end = (tile.index * TILE_HASHES + tile.width) * span;
    // Which hashes are held the disk knows: the edge is, whatever is forgotten.
    const least = tile.level === 'entries' ? tile.index * TILE_HASHES : this.minimum;
    return this.#read(least, end, () => this.#stored.tile(tile));
  }

  /** Bytes of durable entries, in order. @throws as {@link rootAt} */
  entries(first: number, count: number): Promise<Uint8Array[]> {
    return this.#read(first, first + count, () => this.#stored.entries(first, count));
  }

  /** Reads what lies within the records that are held and durable. */
  async #read<T>(least: number, end: number, read: () => Promise<T>): Promise<T> {
    const { size } = this.#durable;
    if (!(least >= this.minimum && end <= size))
      throw new RangeError(`${least} to ${end}, where ${this.minimum} to ${size} are held and durable`);
    try {
      return await told('the disk of the log is not the one of its tree', read);
    } catch (error) {
      // Space of records that were forgotten while they were read may have been used again.
      if (least < this.minimum) throw new RangeError(`records from ${least} are no longer held`);
      throw error;
    }
  }

  get #used(): number {
    return this.#writer.position + this.#reserved - this.#writer.held.start;
  }

  #look(freed: boolean): void {
    this.#room.look(this.#used, freed);
  }

  /**
   * A record as the text that is hashed, and the bytes of its entry.
   *
   * @throws RefusalError `log` if it could not be read back
   */
  #encoded(entry: Entry): { readonly leaf: string; readonly length: number } {
    const most = Math.min(MAX_ENTRY_BYTES, this.#queue.most - ENTRY_PREFIX_BYTES);
    try {
      const leaf = leafText(entryText(entry));
      const length = Buffer.byteLength(leaf) - 1;
      if (length > most) throw new DecodeError('range', `an entry of ${length} bytes`, most);
      return { leaf, length };
    } catch (cause) {
      throw new RefusalError('log', 'not a record', { cause });
    }
  }

  /** Takes room for a record, as much as it may need in its block. @throws RefusalError `log` */
  #reserve(length: number, writer: Writer, extra: number): void {
    const more = this.#queue.growth(ENTRY_PREFIX_BYTES + length + extra, (bytes) => sectors(OVERHEAD_BYTES + bytes));
    const tiles = Math.floor(this.#size / TILE_HASHES) - Math.floor(this.#writer.held.minimum / TILE_HASHES);
    const full = more > this.#room.left(this.#used, writer) || tiles >= (this.#layout.levels[0]?.tiles ?? 0);
    // layer: capacity of the log
    if (full) throw this.#full();
    this.#reserved += more;
  }

  #full(): RefusalError {
    return new RefusalError('log', `the log is full: ${this.#layout.capacity} bytes, ${this.#size} records`);
  }

  /** Writes a batch, and before it what is due. */
  async #perform(batch: Batch | undefined): Promise<void> {
    if (this.#broken !== undefined) throw failed(this.#broken);
    try {
      if (this.#isDue) await this.#settle();
      if (this.isHeld) for (const tell of this.#onHeld) queueMicrotask(tell);
      if (batch === undefined) return;
      const quotes = this.#takeSections(batch);
      const parts = batch.carried.map(sectionOf);
      const seals = this.state.sealsOf(() => factsOf(this.#durable.size, batch, parts));
      const all = [...quotes, ...parts, ...seals];
      const { tree, sections } = await this.#writer.commit(batch.records, batch.bytes, all);
      this.#durable = tree;
      if (quotes.length > 0) this.#before = this.#writer.last;
      for (const [i, part] of batch.carried.entries()) part.landed(sections[quotes.length + i] ?? 0, this.#writer.last);
    } catch (cause) {
      // layer: a failed log stays failed
      this.#broken = cause;
      const why = cause instanceof RefusalError ? `: ${cause.message}` : '';
      throw new RefusalError('log', `the record could not be made durable${why}`, { cause });
    }
    this.#reserved -= sectors(OVERHEAD_BYTES + batch.bytes + batch.extra);
    // Not within the write: an error of a listener would deny what is on the disk.
    for (const tell of this.#listeners) queueMicrotask(() => tell(this.durable));
  }

  /**
   * Finds the last quote of the boot before, which is to be carried into the journal unless it is
   * there already.
   */
  async #takeQuotes(disk: LogDisk, carried: CarriedQuote | undefined): Promise<void> {
    const { size } = this.began;
    const { found, unfit } = await findQuote(disk, (boot) => fitsLog(boot, this, size));
    this.#quoted = { size: found?.boot.checkpoint.size ?? 0, unfit };
    const isCarried = found !== undefined && carried !== undefined && equalBytes(found.quote, carried.quote);
    const before = (isCarried ? carried.before : carried?.position) ?? found?.before ?? 0;
    this.#before = carried?.position ?? before;
    if (found !== undefined && !isCarried) this.#carried = { before, quote: found.quote };
    this.#earlier = new EarlierBoots(this.#blocks(disk), found ? { ...found, before } : before, size);
    const write = (data: Uint8Array, at: number): Promise<void> => this.#writer.write(data, at);
    this.#quotes = new KeptQuotes(disk, write, found === undefined ? 0 : 1 - found.place, () => this.#before);
  }

  #blocks(disk: LogDisk): QuotedLog {
    return {
      rootAt: (size) => this.rootAt(size),
      inclusion: (index, size) => this.inclusion(index, size),
      block: (position) => disk.journal(SECTOR_BYTES).block(position),
    };
  }

  /**
   * The sections of a block: once, in the first, the last quote of the boot before.
   *
   * It takes room of calls alone: else a host that boots again and again would fill what is kept
   * for the records of boots.
   */
  #takeSections({ bytes, extra }: Batch): readonly BlockSection[] {
    const carried = this.#carried;
    this.#carried = undefined;
    if (carried === undefined) return [];
    const sections = [{ type: QUOTE_SECTION, data: encodeQuoteSection(carried) }];
    const more = sectors(OVERHEAD_BYTES + bytes + extra + sectionsLength(sections));
    const isRoom = more <= this.#layout.maxBlock && more <= this.#room.left(this.#used, 'call');
    return isRoom ? sections : [];
  }

  /**
   * Position before which all may be overwritten: that of a record, or of the last block that has
   * one. If the record is not found because a block before it was damaged, no space is given back.
   */
  async #startOf(minimum: number): Promise<number> {
    const { recorded, held } = this.#writer;
    if (minimum >= this.#durable.size) return recorded;
    try {
      return Math.min(recorded, await this.#stored.positionOf(minimum));
    } catch (error) {
      if (error instanceof DecodeError) return held.start;
      throw error;
    }
  }

  /** Whether tiles and superblock are to be written, or space can be given back. */
  get #isDue(): boolean {
    const { minimum, start } = this.#writer.held;
    return this.#writer.isDue || this.#forgotten > minimum || Math.min(this.#wanted, this.state.least) > start;
  }

  async #settle(): Promise<void> {
    const minimum = this.#forgotten;
    const { held } = this.#writer;
    if (minimum > held.minimum) this.#wanted = await this.#startOf(minimum);
    const start = Math.max(held.start, Math.min(this.#wanted, this.state.least));
    const freed = minimum > held.minimum || start > held.start;
    this.#stored.keep(await this.#writer.settle({ minimum, start }));
    if (freed) this.#look(true);
  }
}

/** Records and sealed parts of a batch, as the seal of its block has them. */
function factsOf(first: number, { records }: Batch, parts: readonly BlockSection[]): BlockFacts {
  return { first, leaves: leavesOf(records), parts: parts.map(({ data }) => data) };
}

const KNOWN_SECTIONS: readonly number[] = [QUOTE_SECTION, STATE_SECTION, SEAL_SECTION];

/**
 * Refuses what belongs to a block's records, but for quotes, which are believed nothing, and sealed
 * state, which its own keeper follows.
 *
 * Without this, a runtime that does not know it would go on from a state that never was.
 */
function refuseSections({ sections }: Block): void {
  const section = sections.find(({ type }) => !KNOWN_SECTIONS.includes(type));
  // layer: unknown sections are refused
  if (section !== undefined) throw new DecodeError('version', `a section of type ${section.type}`, 0);
}

/** The quote that a block has of an earlier boot. */
function carriedIn(block: Block): CarriedQuote | undefined {
  const kept = quoteIn(block);
  // A copy: the block is a view of what was read.
  return kept && { ...kept, quote: kept.quote.slice(), position: block.position };
}

/** The result of a step. @throws RefusalError `log` if the disk has something else than the log */
async function told<T>(what: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (cause) {
    if (cause instanceof DecodeError) throw new RefusalError('log', `${what}: ${cause.message}`, { cause });
    throw cause;
  }
}

function failed(cause: unknown): RefusalError {
  return new RefusalError('log', 'the log failed earlier', { cause });
}

/** The time of an entry's record. */
function timeOf(entry: Uint8Array | undefined): string | null {
  try {
    return entry === undefined ? null : decodeEntry(entry).time;
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}
